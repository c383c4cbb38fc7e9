"""Identify the players of each verdict by the ids of the answers.

The name of a file says which two players meet, but not always in which order: the names of most of
QLoRA's released `A-vs-gpt-3.5` files have the two swapped. The ids are reliable: answers that are
first in one file and second in another have the same author, and the author's name is in the names
of all its files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.errors import DataError
from anima_exp.inference.questions import answer_field, answer_text, first_turn
from anima_exp.system import json_files
from anima_exp.system.hashing import short_id
from anima_exp.tournament import reading
from anima_exp.tournament.fields import identifier, text_of
from anima_exp.tournament.reading import Row, lines, short


@dataclass(frozen=True)
class Answer:
    models: tuple[str, ...]  # spellings of the model's name: of the file, of the row
    length: int  # characters


def read_answers(paths: Sequence[Path]) -> dict[str, Answer]:
    """Read files of answers; return the answers by id.

    Raises:
        DataError: if a file cannot be read, or a row has no text.
    """
    found: dict[str, Answer] = {}
    for path in paths:
        count = 0
        for number, fields in lines(path):
            at = f"{path}, row {number}"
            json_files.refuse_newer(fields, at, json_files.ANSWERS)
            text = _text(first_turn(fields)[0], at)
            models = [short(path.stem), text_of(fields, "model_id", at) or ""]
            key = identifier(fields, "answer_id", at) or short_id(text)
            found.setdefault(key, Answer(tuple(filter(None, models)), len(text)))
            count += 1
        if not count:
            raise DataError(f"{path} is empty: it holds no answers. Leave it out.")
    return found


def _text(fields: dict[str, Any], at: str) -> str:
    field = answer_field(fields)
    if not isinstance(fields.get(field), str):
        raise DataError(
            f"{at}: the row has no answer. Add a field text, generation or generation_truncated."
        )
    return answer_text(field, fields[field])


Slot = tuple[Path, int]  # the answers of a file that are shown first (0) or second (1)


def identify(
    rows: Sequence[Row], answers: Mapping[str, Answer], *, trust_names: bool = False
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the players of each row (shown first, shown second), and notes for the reader.

    Args:
        trust_names: use the order of the file name if the ids do not decide.

    Raises:
        DataError: if names contradict the ids, or the players cannot be identified.
    """
    unnamed: dict[Path, list[Row]] = {}
    for row in rows:
        if row.models is None:
            unnamed.setdefault(row.file, []).append(row)
    pairs = {path: reading.players(path) for path in unnamed}
    spellings: dict[str, dict[str, None]] = {}
    for pair in [*(row.models for row in rows if row.models), *pairs.values()]:
        for name in pair:
            spellings.setdefault(reading.key(name), {})[name] = None
    spelled = {key: next(iter(found)) for key, found in spellings.items()}
    ids = {
        (path, place): {row.ids[place] for row in found if row.ids}
        for path, found in unnamed.items()
        for place in (0, 1)
    }
    found_keys, notes = _solve(pairs, ids, answers, trust_names=trust_names)
    players = []
    for row in rows:
        if row.models:
            players.append(row.models)
        else:
            first, second = (spelled[found_keys[row.file, place]] for place in (0, 1))
            players.append((first, second))
    for key in dict.fromkeys(reading.key(name) for pair in pairs.values() for name in pair):
        if len(spellings[key]) > 1:
            notes.append(f"{' and '.join(spellings[key])} are treated as one player.")
    turned = sum(found_keys[path, 0] != reading.key(pair[0]) for path, pair in pairs.items())
    if turned:
        notes.append(
            f"{turned} of {len(pairs)} file names have the two players swapped. The answer ids say "
            "whose answer is shown first."
        )
    return players, notes


def _solve(
    pairs: Mapping[Path, tuple[str, str]],
    ids: Mapping[Slot, set[str]],
    answers: Mapping[str, Answer],
    *,
    trust_names: bool,
) -> tuple[dict[Slot, str], list[str]]:
    author = _authors(ids)
    possible: dict[int, set[str]] = {}
    for (path, _), one in author.items():
        both = {reading.key(name) for name in pairs[path]}
        possible[one] = possible.get(one, both) & both
        if not possible[one]:
            raise DataError(
                f"{path}: its answers also occur in files whose names share no player with "
                f"{' and '.join(pairs[path])}. Rename the file, or leave it out."
            )
    _by_answers(possible, author, ids, answers)
    _exclude(possible, author)
    open_files = [path for path in pairs if len(possible[author[path, 0]]) > 1]
    notes = []
    if open_files and not trust_names:
        first, second = pairs[open_files[0]]
        raise DataError(
            f"{open_files[0]}: only the file name says whether {first} or {second} is shown first, "
            "and some released files have wrong names. Give answers=FILE "
            "with the answers of one of them, more files, or trust_names=true."
        )
    for path in open_files:
        for place, name in enumerate(pairs[path]):
            possible[author[path, place]] &= {reading.key(name)}
        _exclude(possible, author)
    if open_files:
        notes.append(f"In {len(open_files)} files only the file name says who is shown first.")
    for path, pair in pairs.items():
        left, right = (possible[author[path, place]] for place in (0, 1))
        if len(left) != 1 or len(right) != 1 or left == right:
            raise DataError(
                f"{path}: its answer ids contradict its name and those of the other files, so "
                f"{' and '.join(pair)} cannot be identified. Leave the file out, or rename it."
            )
    return {slot: next(iter(possible[one])) for slot, one in author.items()}, notes


def _authors(ids: Mapping[Slot, set[str]]) -> dict[Slot, int]:
    """Return a number per slot, equal for slots that share more than half of their answers.

    One shared answer is not enough: two models that answer "Yes." share its id, a hash of the text.
    """
    slots = list(ids)
    where: dict[str, list[int]] = {}
    for at, slot in enumerate(slots):
        for answer in ids[slot]:
            where.setdefault(answer, []).append(at)
    shared: dict[tuple[int, int], int] = {}
    for together in where.values():
        for at in together[1:]:
            # Compare with the first slot only, and merge transitively: linear in the files.
            shared[together[0], at] = shared.get((together[0], at), 0) + 1
    parent = list(range(len(slots)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for (one, other), count in shared.items():
        if 2 * count > min(len(ids[slots[one]]), len(ids[slots[other]])):
            parent[root(other)] = root(one)
    return {slot: root(at) for at, slot in enumerate(slots)}


def _by_answers(
    possible: dict[int, set[str]],
    author: Mapping[Slot, int],
    ids: Mapping[Slot, set[str]],
    answers: Mapping[str, Answer],
) -> None:
    """Narrow down authors by files of answers, which name their model in several spellings."""
    for slot, one in author.items():
        told: dict[str, int] = {}
        for answer in ids[slot] & answers.keys():
            for name in set(map(reading.key, answers[answer].models)) & possible[one]:
                told[name] = told.get(name, 0) + 1
        if told:
            name, count = max(told.items(), key=lambda item: item[1])
            if 2 * count > len(ids[slot]):
                possible[one] = {name}


def _exclude(possible: dict[int, set[str]], author: Mapping[Slot, int]) -> None:
    """Narrow down authors: the opponent of a known player has the other name of the file."""
    files = {path for path, _ in author}
    changed = True
    while changed:
        changed = False
        for path in files:
            for place in (0, 1):
                one, other = possible[author[path, place]], possible[author[path, 1 - place]]
                if len(one) == 1 and len(other) > 1 and one <= other:
                    possible[author[path, 1 - place]] = other - one
                    changed = True
