"""Read files of verdicts by several programs as rows of one form.

Four formats are supported, with one JSON object per line, or a list of them in a .json file:

* verdicts of `anima-exp judge`, with the players in `model1` and `model2`;
* QLoRA's released ratings and FastChat's reviews, with answer ids, and players in the file name;
* FastChat's pair judgments of MT-bench, with both orders in one row: `g1_winner`, `g2_winner`;
* battles of Chatbot Arena: `model_a`, `model_b` and `winner`, each on its own question.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anima_exp.data import readers
from anima_exp.errors import DataError
from anima_exp.system import json_files
from anima_exp.tournament.fields import count, field, name, needed, shown, text_of
from anima_exp.tournament.progress import Say, quiet

_OUTCOMES = {1: 1.0, 2: 0.0, 3: 0.5}  # three-class: the first is better, the second, a tie


@dataclass(frozen=True)
class Row:
    """One verdict on two answers, in the order in which the judge saw them."""

    file: Path
    line: int  # counted from 1
    question: str
    turn: int
    category: str | None
    ids: tuple[str, str] | None  # of the answers
    models: tuple[str, str] | None  # None if only the ids and the file name identify them
    scores: tuple[float, float] | None  # of a relative verdict
    outcome: float | None  # 1: the first wins, 0.5: a tie, 0: the second wins; None: not parsed
    relative: bool  # the judge gave two scores, not one of three classes
    lengths: tuple[int, int] | None  # characters
    judge: str
    battle: bool = False  # only these two models answered its question


def read(paths: Sequence[Path], *, say: Say = quiet) -> list[Row]:
    """Return the rows of files, and of the *.jsonl files in folders, in the given order.

    Raises:
        DataError: if a path does not exist, or a row has none of the four formats.
    """
    found: list[Row] = []
    for path in _files(paths):
        rows: list[Row] = []
        for line, fields in lines(path):
            rows += _rows(path, line, fields)
            say(len(found) + len(rows), None)
        if not rows:
            raise DataError(f"{path} is empty: it holds no verdicts. Leave it out or judge again.")
        found += rows
    return found


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a file with their line numbers.

    Raises:
        DataError: if the file cannot be read, or a line is not a JSON object.
    """
    listed = path.name.lower().endswith((".json", ".json.gz"))
    for number, fields in (readers.rows if listed else readers.json_lines)(path):
        if isinstance(fields, DataError):
            raise DataError(f"{path}, row {number}: {fields}. Correct or remove the row.")
        yield number, dict(fields)


def _files(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.jsonl"))
            if not inside:
                raise DataError(f"{path} holds no *.jsonl file. Give the folder of the verdicts.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path} does not exist. Give files of verdicts, or their folder.")
    return list(dict.fromkeys(found))


def _rows(path: Path, line: int, fields: dict[str, Any]) -> Iterator[Row]:
    at = f"{path}, row {line}"
    json_files.refuse_newer(fields, at, json_files.VERDICTS)
    if "g1_winner" in fields:
        yield from _both_orders(path, line, fields)
        return
    if "model_a" in fields and "winner" in fields:
        yield _battle(path, line, fields)
        return
    if "score" in fields and "model" in fields and "answer1_id" not in fields:
        raise DataError(
            f"{at}: the row grades a single answer (model, score), but a rating needs pairs. "
            "Give pair judgments."
        )
    models = None
    if "model1" in fields or "model2" in fields:
        models = (name(fields, "model1", at), name(fields, "model2", at))
    yield _one(path, line, fields, models=models)


def _one(path: Path, line: int, fields: dict[str, Any], *, models: tuple[str, str] | None) -> Row:
    at = f"{path}, row {line}"
    scores, outcome, relative = _score(field(fields, "score", at), at)
    if not isinstance(fields.get("parsed", True), bool):
        raise DataError(f"{at}: parsed is {shown(fields['parsed'])}; it must be true or false.")
    if fields.get("parsed") is False:
        scores, outcome = None, None
    ids = None
    if models is None or "answer1_id" in fields:
        ids = (needed(fields, "answer1_id", at), needed(fields, "answer2_id", at))
    if models:
        _two(*models, at)
    lengths = count(fields, "length1", at), count(fields, "length2", at)
    return Row(
        file=path,
        line=line,
        question=_question(fields, at),
        turn=1,
        category=text_of(fields, "category", at),
        ids=ids,
        models=models,
        scores=scores,
        outcome=outcome,
        relative=relative,
        lengths=None if None in lengths else lengths,  # type: ignore[arg-type]
        judge=text_of(fields, "judge", at) or "",
    )


def _battle(path: Path, line: int, fields: dict[str, Any]) -> Row:
    """Read a battle of Chatbot Arena. Its `turn` is the number of turns of the conversation."""
    at = f"{path}, row {line}"
    first, second = name(fields, "model_a", at), name(fields, "model_b", at)
    _two(first, second, at)
    won = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5}
    winner = fields["winner"]
    if not isinstance(winner, str) or winner not in won:
        raise DataError(f"{at}: winner is {shown(winner)}; it must be one of {', '.join(won)}.")
    return Row(
        file=path,
        line=line,
        question=f"{path}:{line}",
        turn=1,
        category=text_of(fields, "category", at),
        ids=None,
        models=(first, second),
        scores=None,
        outcome=won[winner],
        relative=False,
        lengths=None,
        judge="",  # each voter has another name
        battle=True,
    )


def _both_orders(path: Path, line: int, fields: dict[str, Any]) -> Iterator[Row]:
    """Read both orders of a pair judgment: model_1 is first in game 1 and second in game 2."""
    at = f"{path}, row {line}"
    first, second = name(fields, "model_1", at), name(fields, "model_2", at)
    _two(first, second, at)
    won = {"model_1": 1.0, "model_2": 0.0, "tie": 0.5, "error": None}
    for game, swapped in (("g1_winner", False), ("g2_winner", True)):
        winner = field(fields, game, at)
        if not isinstance(winner, str) or winner not in won:
            raise DataError(f"{at}: {game} is {shown(winner)}; it must be one of {', '.join(won)}.")
        outcome = won[winner]
        judge = fields.get("judge")
        if isinstance(judge, list) and judge:  # the model and the name of its prompt
            judge = judge[0]
        yield Row(
            file=path,
            line=line,
            question=_question(fields, at),
            turn=_turn(fields, at),
            category=text_of(fields, "category", at),
            ids=None,
            models=(second, first) if swapped else (first, second),
            scores=None,
            outcome=1 - outcome if swapped and outcome is not None else outcome,
            relative=False,
            lengths=None,
            judge=text_of({"judge": judge}, "judge", at) or "",
        )


def _score(value: object, at: str) -> tuple[tuple[float, float] | None, float | None, bool]:
    """Return the scores, the outcome, and whether the verdict is relative."""
    if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        one, other = float(value[0]), float(value[1])
        if one < 0 or other < 0:
            return None, None, True
        return (one, other), 0.5 if one == other else float(one > other), True
    if _is_number(value) and value in (-1, *_OUTCOMES):
        return None, _OUTCOMES.get(int(value)), False
    raise DataError(
        f"{at}: score is {shown(value)}; it must be two numbers ([-1, -1] where the "
        "verdict was not parsed), or 1, 2, 3 or -1."
    )


def _question(fields: dict[str, Any], at: str) -> str:
    # Open Assistant's benchmark calls its questions messages.
    return needed(fields, "message_id" if "message_id" in fields else "question_id", at)


def _two(first: str, second: str, at: str) -> None:
    if first == second:
        raise DataError(
            f"{at}: both answers are by {first}, so there is nothing to compare. Remove the row."
        )


def _turn(fields: dict[str, Any], at: str) -> int:
    turn = fields.get("turn", 1)
    if not isinstance(turn, int) or isinstance(turn, bool):
        raise DataError(f"{at}: turn is {shown(turn)}; it must be 1, 2, ...")
    return turn


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 300 digits
        return False


# In the file names of QLoRA and FastChat the reviewer comes last, and the names of fine-tuned
# models end with their sampling settings.
_REVIEWER = re.compile(r"[-_]gpt-?4[-_]reviewer.*$")
_SAMPLED = re.compile(r"[-_](vicuna|oa|openassistant)[-_]generations.*$")
_ANSWER = re.compile(r"^answers?[-_]")


def players(path: Path) -> tuple[str, str]:
    """Return the short names A and B for `A-vs-B-gpt-4-reviewer-threeclass.jsonl`.

    Raises:
        DataError: if the file name does not name two players.
    """
    stem = _REVIEWER.sub("", path.name.removesuffix(".jsonl"))
    parts = re.split(r"[-_]vs[-_]", stem)
    if len(parts) != 2 or not all(parts) or same(*parts):
        raise DataError(
            f"{path} does not name its players: its rows have no model1 and model2, and its name "
            "is not of the form A-vs-B.jsonl. Rename it."
        )
    return short(parts[0]), short(parts[1])


def short(name: str) -> str:
    """Return `13b-guanaco` for `13b-guanaco-vicuna-generations-topp0.9-temp0.7`."""
    return _ANSWER.sub("", _SAMPLED.sub("", name)) or name


def same(one: str, other: str) -> bool:
    """Return whether two spellings mean the same player, as `gpt-3.5` and `answer_gpt35`."""
    return key(one) == key(other)


@cache
def key(name: str) -> str:
    folded = short(name).casefold()
    return "".join(letter for letter in folded if letter.isalnum()) or folded
