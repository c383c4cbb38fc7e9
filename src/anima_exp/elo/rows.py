"""Files of verdicts -> rows of one shape, whichever program wrote them.

Three forms are read, one JSON object a line:

* ours, of `python -m anima_exp.judge`: names its players as `model1` and `model2`;
* QLoRA's released ratings and FastChat's reviews: know answers by id, players by the file's name;
* FastChat's pair judgments of MT-bench: both orders in one row, `g1_winner` and `g2_winner`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.data.files import json_lines
from anima_exp.elo.progress import Say, quiet
from anima_exp.errors import DataError

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
    models: tuple[str, str] | None  # None where only the ids and the file's name tell
    scores: tuple[float, float] | None  # of a relative verdict
    outcome: float | None  # 1 the first wins, 0.5 a tie, 0 the second; None: not parsed
    relative: bool  # two scores were asked for, not one of three classes
    lengths: tuple[int, int] | None  # characters
    judge: str


def read(paths: Sequence[Path], *, say: Say = quiet) -> list[Row]:
    """Every row of the files, and of the *.jsonl in the folders, in the order given.

    Raises:
        DataError: a path is not there, or a row is not what one of the three forms says.
    """
    found: list[Row] = []
    for path in _files(paths):
        rows: list[Row] = []
        for line, fields in lines(path):
            rows += _rows(path, line, fields)
            say(len(found) + len(rows), None)
        if not rows:
            raise DataError(f"{path} is empty: no verdict in it. Leave it out or judge again.")
        found += rows
    return found


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file, each with the number of its line.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object.
    """
    for number, fields in json_lines(path):
        if isinstance(fields, DataError):
            raise DataError(f"{path}, row {number}: {fields}. Mend or drop it.")
        yield number, dict(fields)


def _files(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.jsonl"))
            if not inside:
                raise DataError(f"{path} holds no *.jsonl: give the folder with the verdicts.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path} does not exist. Give files of verdicts, or their folder.")
    return list(dict.fromkeys(found))


def _rows(path: Path, line: int, fields: dict[str, Any]) -> Iterator[Row]:
    at = f"{path}, row {line}"
    if "g1_winner" in fields:
        yield from _both_orders(path, line, fields)
        return
    if "score" in fields and "model" in fields and "answer1_id" not in fields:
        raise DataError(
            f"{at}: a grade of one answer (model, score) has no opponent. Give pair judgments."
        )
    models = None
    if "model1" in fields or "model2" in fields:
        models = (_name(_field(fields, "model1", at)), _name(_field(fields, "model2", at)))
    yield _one(path, line, fields, models=models)


def _one(path: Path, line: int, fields: dict[str, Any], *, models: tuple[str, str] | None) -> Row:
    at = f"{path}, row {line}"
    scores, outcome, relative = _score(_field(fields, "score", at), at)
    if fields.get("parsed") is False:
        scores, outcome = None, None
    ids = None
    if models is None or "answer1_id" in fields:
        ids = (str(_field(fields, "answer1_id", at)), str(_field(fields, "answer2_id", at)))
    if models:
        _two(*models, at)
    lengths = (fields.get("length1"), fields.get("length2"))
    whole = all(isinstance(length, int) for length in lengths)
    return Row(
        file=path,
        line=line,
        question=_question(fields, at),
        turn=1,
        category=_text(fields.get("category")),
        ids=ids,
        models=models,
        scores=scores,
        outcome=outcome,
        relative=relative,
        lengths=lengths if whole else None,  # type: ignore[arg-type]
        judge=str(fields.get("judge") or ""),
    )


def _both_orders(path: Path, line: int, fields: dict[str, Any]) -> Iterator[Row]:
    """FastChat shows model_1 first in game 1 and second in game 2; winners are named as models."""
    at = f"{path}, row {line}"
    first, second = (_name(_field(fields, name, at)) for name in ("model_1", "model_2"))
    _two(first, second, at)
    won = {"model_1": 1.0, "model_2": 0.0, "tie": 0.5, "error": None}
    for game, swapped in (("g1_winner", False), ("g2_winner", True)):
        winner = _field(fields, game, at)
        if not isinstance(winner, str) or winner not in won:
            raise DataError(f"{at}: {game} is {winner!r}; it must be one of {', '.join(won)}.")
        outcome = won[winner]
        judge = fields.get("judge")
        yield Row(
            file=path,
            line=line,
            question=_question(fields, at),
            turn=_turn(fields, at),
            category=_text(fields.get("category")),
            ids=None,
            models=(second, first) if swapped else (first, second),
            scores=None,
            outcome=1 - outcome if swapped and outcome is not None else outcome,
            relative=False,
            lengths=None,
            judge=str(judge[0] if isinstance(judge, list) and judge else judge or ""),
        )


def _score(value: Any, at: str) -> tuple[tuple[float, float] | None, float | None, bool]:
    """Scores, outcome, and whether it is a relative verdict."""
    if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        one, other = float(value[0]), float(value[1])
        if one < 0 or other < 0:
            return None, None, True
        return (one, other), 0.5 if one == other else float(one > other), True
    if _is_number(value) and value in (-1, *_OUTCOMES):
        return None, _OUTCOMES.get(int(value)), False
    raise DataError(
        f"{at}: score is {json.dumps(value)[:60]}; it must be two numbers ([-1, -1] where the "
        "verdict was not parsed), or 1, 2, 3 or -1."
    )


def _field(fields: dict[str, Any], name: str, at: str) -> Any:
    if fields.get(name) is None:
        raise DataError(f"{at}: there is no {name}. The row has {', '.join(fields) or 'nothing'}.")
    return fields[name]


def _question(fields: dict[str, Any], at: str) -> str:
    # Open Assistant's benchmark knows its questions as messages.
    name = "message_id" if "message_id" in fields else "question_id"
    return _name(_field(fields, name, at))


def _two(first: str, second: str, at: str) -> None:
    if first == second:
        raise DataError(f"{at}: both answers are of {first}: there is nothing to compare.")


def _turn(fields: dict[str, Any], at: str) -> int:
    turn = fields.get("turn", 1)
    if not isinstance(turn, int):
        raise DataError(f"{at}: turn is {turn!r}; it must be 1, 2, ...")
    return turn


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str | None:
    return None if value is None else _name(value)


def _name(value: Any) -> str:
    """Halves of characters, which JSON can hold and no file can, are spelled out."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
