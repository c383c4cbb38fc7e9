"""Read a benchmark from a folder of CSV files, the hub, the tiny world or your own module."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp.config import MultipleChoiceConfig
from anima_exp.config.lookup import own
from anima_exp.errors import ConfigError, DataError
from anima_exp.evals.multiple_choice.benchmark import (
    ENTRIES,
    LETTERS,
    Benchmark,
    Parts,
    Question,
    Subject,
    entry,
    question,
)
from anima_exp.system import json_files
from anima_exp.system.paths import expanded, is_file, is_folder

_DEV = ("dev", "validation_dev")  # names of splits with worked examples
_QUESTION, _ANSWER = ("question", "input"), ("answer", "target", "label")  # names in headers
_CHOICE = re.compile(r"(?:option|choice)?[ _-]?([a-j])")


def read(name: str, config: MultipleChoiceConfig) -> Benchmark:
    """Return the benchmark `evals.NAME`, or `evals.benchmarks.NAME`, with its subjects.

    Raises:
        DataError: if it cannot be read, a row is not a question, or there are too few examples.
        ConfigError: if a dotted path does not name a Benchmark.
    """
    of = entry(name)
    key = of.key
    titles: Mapping[str, str] = {}
    categories: Mapping[str, str] = {}
    if config.path:
        place = expanded(config.path, f"{key}.path")
        found = _folder(place, config, key)
        titles, categories = _mapping(place)
    elif is_own(config.source):
        found, titles, categories = _own(config, key)
    elif config.source.startswith("tiny"):
        found = _tiny(config, key)
    else:
        from anima_exp.evals.multiple_choice.hub_sets import read_hub

        found = read_hub(config, key)
    if not categories:  # MMLU's subjects have its categories in every benchmark
        known = [one.categories for one in (of, *ENTRIES.values())]
        categories = next((one for one in known if one and set(found) <= set(one)), {})
    subjects = [
        Subject(subject, titles.get(subject, subject.replace("_", " ")), questions, examples)
        for subject, (questions, examples) in sorted(_chosen(found, config, key).items())
    ]
    _check(subjects, config, key)
    return replace(of, subjects=tuple(subjects), categories=categories)


def is_own(source: str) -> bool:
    """Return whether a source is a dotted path to a user's Benchmark."""
    return "." in source and "/" not in source


def _folder(folder: Path, config: MultipleChoiceConfig, key: str) -> dict[str, Parts]:
    if not is_folder(folder):
        raise DataError(f"{key}.path={config.path}: there is no such folder.")
    place = folder / config.split
    files = sorted(place.glob("*.csv"))
    if not files:
        splits = sorted(path.name for path in folder.iterdir() if any(path.glob("*.csv")))
        raise DataError(
            f"{key}.path={config.path} has no CSV files in its folder {config.split}. "
            + (f"Choose one of {', '.join(splits)} with {key}.split=..." if splits else "")
        )
    found = {}
    for file in files:
        subject = file.stem.removesuffix(f"_{config.split}")
        examples: tuple[Question, ...] = ()
        dev = next((p for p in _dev_files(folder, subject) if p.is_file()), None)
        if dev:
            examples = tuple(questions_of(dev))
        found[subject] = (tuple(questions_of(file)), examples)
    return found


def _dev_files(folder: Path, subject: str) -> Iterable[Path]:
    return (folder / dev / f"{subject}{end}.csv" for dev in _DEV for end in (f"_{dev}", ""))


def questions_of(file: Path) -> list[Question]:
    """Return the questions of a CSV file without a header (MMLU) or with one (CMMLU, C-Eval).

    Cells are plain text, so the answers "None" and "N/A" are words. Empty rows are ignored.

    Raises:
        DataError: if a row differs in its number of cells from the header, or without a header from
            the first row.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as CSV: {error}.") from error
    numbered = [
        (number, row) for number, row in enumerate(rows, start=1) if any(map(str.strip, row))
    ]
    if not numbered:
        return []
    first, head = numbered[0]
    columns = _columns(head, f"{file}, row {first}")
    questions = []
    for number, row in numbered[1:] if columns else numbered:
        where = f"{file}, row {number}"
        if len(row) != len(head):
            raise DataError(
                f"{where} has {len(row)} cells, but {'the header' if columns else f'row {first}'} "
                f"has {len(head)}. Put cells that contain a comma in quotes."
            )
        cells = dict(zip(columns, row, strict=True)) if columns else _unnamed(row)
        questions.append(question(cells, where))
    return questions


def _columns(first: list[str], where: str) -> list[str] | None:
    """Return the column names of a header in standard form; None if the row is a question."""
    names = [_column(cell.strip().lower()) for cell in first]
    if {"question", "A", "B"} <= set(names):
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise DataError(f"{where}: the header names the column {twice[0]} twice.")
        return names
    if names[-1] == "answer" or {"question", "answer"} <= set(names):
        raise DataError(
            f"{where} is a header without the columns question, A, B, C, ... and answer. It has: "
            f"{', '.join(first)}."
        )
    return None


def _column(name: str) -> str:
    if name in _QUESTION:
        return "question"
    if name in _ANSWER:
        return "answer"
    choice = _CHOICE.fullmatch(name)
    return choice[1].upper() if choice else name


def _unnamed(row: list[str]) -> dict[str, str]:
    if len(row) < 4:
        return {}
    return {"question": row[0], "answer": row[-1]} | dict(zip(LETTERS, row[1:-1], strict=False))


def _mapping(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the title and the category of each subject from mapping.json (LLaMA-Factory)."""
    file = folder / "mapping.json"
    if not is_file(file):
        return {}, {}
    try:
        found = json_files.read_file(file)
        titles = {subject: entry["name"] for subject, entry in found.items()}
        categories = {
            subject: re.sub(r"\W+", "_", entry["category"].lower())
            for subject, entry in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{file} must contain {{"SUBJECT": {{"name": ..., "category": ...}}, ...}}.'
        ) from error
    return titles, categories


def _own(
    config: MultipleChoiceConfig, key: str
) -> tuple[dict[str, Parts], dict[str, str], Mapping[str, str]]:
    """Return the subjects of a user's Benchmark, their titles and their categories."""
    where = f"{key}.source={config.source}"
    found = own(config.source, key=f"{key}.source")
    try:
        benchmark = found() if callable(found) else found
    except Exception as error:  # a bug in the user's module keeps its traceback
        error.add_note(f"{where} raised this.")
        raise
    if not isinstance(benchmark, Benchmark) or not benchmark.subjects:
        what = type(benchmark).__name__
        raise ConfigError(
            f"{where} is neither a Benchmark with subjects nor a function that returns one, but "
            f"{what}. See anima_exp.evals.multiple_choice.benchmark."
        )
    return (
        {one.name: (one.questions, one.examples) for one in benchmark.subjects},
        {one.name: one.title for one in benchmark.subjects},
        benchmark.categories,
    )


def _tiny(config: MultipleChoiceConfig, key: str) -> dict[str, Parts]:
    from anima_exp.tiny import multiple_choice as tiny

    language = config.source.removeprefix("tiny").removeprefix("_") or "zh"
    if language not in ("en", "zh"):
        raise DataError(
            f"{key}.source={config.source} is not a set of the tiny world. Use tiny_en or tiny_zh."
        )

    def by_subject(count: int, seed: int, part: str) -> dict[str, list[Question]]:
        asked: dict[str, list[Question]] = {subject: [] for subject in tiny.SUBJECTS}
        for one in tiny.questions(language, count * len(tiny.SUBJECTS), seed=seed, part=part):
            answer = LETTERS.index(one.answer)
            asked[one.subject].append(Question(one.question, one.choices, answer))
        return asked

    questions = by_subject(config.max_questions or 30, 1, "test")
    examples: dict[str, Any] = by_subject(config.shots, 2, "train") if config.shots else {}
    return {
        subject: (tuple(found), tuple(examples.get(subject, ())))
        for subject, found in questions.items()
    }


def _chosen(
    available: dict[str, Parts], config: MultipleChoiceConfig, key: str
) -> dict[str, Parts]:
    if unknown := [subject for subject in config.subjects if subject not in available]:
        raise DataError(
            f"{key}.subjects: there is no subject '{unknown[0]}'. "
            f"Choose from {', '.join(sorted(available))}."
        )
    return {
        subject: (questions[: config.max_questions], examples)
        for subject, (questions, examples) in available.items()
        if not config.subjects or subject in config.subjects
    }


def _check(subjects: list[Subject], config: MultipleChoiceConfig, key: str) -> None:
    if config.split in _DEV and config.shots:
        raise DataError(
            f"{key}.split={config.split} would ask the worked examples as questions. Choose "
            f"another split, or set {key}.shots=0."
        )
    for subject in subjects:
        if not subject.questions:
            raise DataError(f"{key}: subject {subject.name} has no questions.")
        if len(subject.examples) < config.shots:
            raise DataError(
                f"{key}.shots={config.shots}, but subject {subject.name} has "
                f"{len(subject.examples)} worked examples. Add some to its dev split, or set "
                f"{key}.shots={len(subject.examples)}."
            )
