"""Read a benchmark from the hub.

A subject is a configuration of the data set, or named by the column `subject`.
"""

from pathlib import Path
from typing import Any

from anima_exp.config import MultipleChoiceConfig
from anima_exp.errors import DataError, first_line
from anima_exp.evals.multiple_choice.benchmark import LETTERS, Parts, Question, question
from anima_exp.libraries import hub

_SPLITS = {"val": ("val", "validation"), "dev": ("dev", "train")}  # names of the same split


def check_hub(config: MultipleChoiceConfig, key: str) -> None:
    """Raise DataError if the hub has no such benchmark, before `datasets` is imported."""
    if not config.path and hub.is_id(config.source) and not Path(config.source).is_dir():
        hub.check_data_set(
            config.source,
            where=f"{key}.source={config.source}",
            way_out=f"Use a folder of CSV files, {key}.path=FOLDER, or try again with a network.",
        )


def read_hub(config: MultipleChoiceConfig, key: str) -> dict[str, Parts]:
    """Return the questions and worked examples of each subject.

    Raises:
        DataError: if the benchmark cannot be downloaded, or a row is not a question.
    """
    check_hub(config, key)
    from datasets import (  # type: ignore[import-untyped]
        get_dataset_config_names,
        load_dataset,
    )

    try:
        with hub.no_retries(config.source):
            names = get_dataset_config_names(config.source)
        # A configuration with all subjects is one download instead of 57.
        wanted = ["all"] if "all" in names else [n for n in names if n != "auxiliary_train"]
        if config.subjects and wanted != ["all"]:
            wanted = [name for name in wanted if name in config.subjects]
        subjects: dict[str, tuple[list[Question], list[Question]]] = {}
        for name in wanted:
            with hub.no_retries(config.source):
                splits = load_dataset(config.source, name)
            for part, split in enumerate((config.split, "dev")):
                actual = next((s for s in _SPLITS.get(split, (split,)) if s in splits), None)
                if actual is None:
                    if part == 0:
                        raise DataError(
                            f"{key}.source={config.source} has no split {split}. "
                            f"Choose one of {', '.join(splits)} with {key}.split=..."
                        )
                    continue
                for number, row in enumerate(splits[actual], start=1):
                    where = f"{config.source} ({name}, {actual}), row {number}"
                    subject = str(row.get("subject") or name)
                    parts = subjects.setdefault(subject, ([], []))
                    parts[part].append(_question(row, where))
    except DataError:
        raise
    except Exception as error:  # a server, a proxy or a broken archive may raise anything
        reason = first_line(error).rstrip(".")
        raise DataError(
            f"{key}.source={config.source} cannot be loaded: {reason}. Without a network, use a "
            f"folder with dev/ and {config.split}/ of CSV files: {key}.path=FOLDER."
        ) from error
    return {subject: (tuple(test), tuple(dev)) for subject, (test, dev) in subjects.items()}


def _question(row: dict[str, Any], where: str) -> Question:
    """Return the question of a row with a list of choices and a number, or a column per letter."""
    cells = {
        key if key in LETTERS else key.lower(): str(value)
        for key, value in row.items()
        if value is not None
    }
    if isinstance(row.get("choices"), list):
        cells |= dict(zip(LETTERS, map(str, row["choices"]), strict=False))
    if isinstance(row.get("answer"), int):
        cells["answer"] = LETTERS[row["answer"]]
    return question(cells, where)
