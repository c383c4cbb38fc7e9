"""Make the table of scores before and after training, with 95 % intervals of proportions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.config import ForgettingConfig, benchmark_key
from anima_exp.config.evals import EXACT_MATCH_TURNS, FUNCTION
from anima_exp.config.neutral_text import KEY as TEXT_KEY
from anima_exp.config.neutral_text import TINY, chosen
from anima_exp.display.tables import Column
from anima_exp.evals.multiple_choice.benchmark import MICRO, of_score
from anima_exp.evals.score_names import group
from anima_exp.metrics.intervals import wilson
from anima_exp.metrics.metric import FORGETTING, NEUTRAL_LOSS, metric, part_of_score
from anima_exp.results.record import Record

Rows = Sequence[Mapping[str, Any]]  # the rows of accuracies.jsonl of one evaluation


@dataclass(frozen=True)
class Measured:
    """The results of one evaluation."""

    scores: Mapping[str, float]
    accuracies: Rows


def columns(record: Record, *, before: Measured, after: Measured) -> list[Column]:
    names = list(after.scores)
    return [
        Column("score", names, right=False),
        Column("before", [_score_text(record, name, before) for name in names]),
        Column("after", [_score_text(record, name, after) for name in names]),
        Column("measured on", [_measured_on(record, name, after) for name in names], right=False),
    ]


def interval(record: Record, name: str, measured: Measured) -> tuple[float, float] | None:
    """Return the 95 % interval of a proportion with a known number of questions, else None."""
    value = measured.scores[name]
    if row := benchmark_row(name, measured.accuracies):
        return float(row["low"]), float(row["high"])
    if name == "exact_match" and (rows := _first_rows(record, name)):
        return wilson(round(value * rows), rows)
    if measured.scores is record.scores and (ends := record.intervals.get(name)):
        return ends[0], ends[1]
    return None


def _score_text(record: Record, name: str, measured: Measured) -> str:
    if name not in measured.scores:
        return "-"
    ends = interval(record, name, measured)
    return metric(name, record.metrics).with_interval(measured.scores[name], ends)


def _measured_on(record: Record, name: str, measured: Measured) -> str:
    if row := benchmark_row(name, measured.accuracies):
        shots = record.settings[f"{benchmark_key(row['benchmark'])}.shots"] or "no"
        mean = "questions" if row["name"] == MICRO else "subjects"
        return f"{row['asked']:,} questions, {shots} examples each; mean over {mean}"
    if name == "heldout_loss":
        return f"{_first_rows(record, 'heldout'):,} rows set aside; nats per response token"
    if name in (NEUTRAL_LOSS, FORGETTING):
        return f"{_text(record)}; {'rise of the loss, ' * (name == FORGETTING)}nats per token"
    if part := part_of_score(name):
        return f"rows of the part {part} that are set aside; nats per response token"
    if name == "exact_match":
        every = "every answer of " if EXACT_MATCH_TURNS[0] in measured.scores else ""
        return f"{every}{_first_rows(record, name):,} rows set aside, greedy"
    if name in EXACT_MATCH_TURNS:
        turn = 1 + EXACT_MATCH_TURNS.index(name)
        rows = _first_rows(record, "exact_match")
        return f"answer {turn} of the conversations among {rows:,} rows set aside, greedy"
    path = record.settings.get(f"{group(name, record.settings)}.{FUNCTION}")
    return f"{path}, a function that is not part of anima-exp" if path else ""


def benchmark_row(name: str, rows: Rows) -> Mapping[str, Any] | None:
    """Return the row of the mean that is the score `name`; None if it is no benchmark's."""
    found = of_score(name, dict.fromkeys(row["benchmark"] for row in rows))
    if not found:
        return None
    wanted = (found.name, "mean", found.scores[name])
    return next((row for row in rows if (row["benchmark"], row["of"], row["name"]) == wanted), None)


def _text(record: Record) -> str:
    """Return the name of the text of evals.forgetting."""
    settings = record.settings
    given = ForgettingConfig(
        source=settings[f"{TEXT_KEY}.source"], path=settings[f"{TEXT_KEY}.path"]
    )
    if given.path:
        return f"text of {Path(given.path).name}"
    found = chosen(given, settings["model.source"]).source
    return "English tasks of the tiny world" if found == TINY else f"text of {found}"


def _first_rows(record: Record, name: str) -> int:
    most = record.settings[f"evals.{name}.max_rows"]
    heldout = record.rows["heldout"]
    return heldout if most is None else min(heldout, int(most))
