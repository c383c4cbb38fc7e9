"""Rows and what is expected of them: what is right, what is wrong, and what was not measured."""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean
from typing import Any

from check.expected import EXPECTED, Expected
from check.parts import PARTS
from check.rows import PART, Row, latest


class State(StrEnum):
    right = "right"
    wrong = "wrong"
    slow = "slower than expected"
    missing = "not measured"
    hollow = "not computed on a hollow GPU"


@dataclass(frozen=True)
class Judged:
    state: State
    text: str


def judge(rows: list[Row], *, rehearsal: bool = False) -> list[Judged]:
    """Judge the last attempt at each part that `rows` hold.

    Args:
        rehearsal: no number was computed. Then a part that fails or lacks a row is wrong, and
            nothing else is.
    """
    rows = derived(latest(rows))
    begun = {row["part"] for row in rows}
    found = _of_parts(rows) + _of_errors(rows)
    for expected in EXPECTED:
        if expected.part in begun:
            found += _of_values(expected, rows, rehearsal=rehearsal)
    return found


def _of_parts(rows: list[Row]) -> list[Judged]:
    by_part: dict[str, Row] = {row["part"]: row for row in rows if row["row"] == PART}
    found = []
    for part in PARTS:
        end = by_part.get(part.name)
        if end is None:
            found.append(Judged(State.missing, f"{part.name}: this part was not run."))
        elif end["state"] == "failed":
            last = str(end["error"]).strip().splitlines()[-1:]
            why = f"{part.name}: it ended with status {end['status']}: {''.join(last)}"
            found.append(Judged(State.wrong, why))
        elif end["state"] == "at its limit":
            why = (
                f"{part.name}: it was stopped at its limit, after {end['seconds']} s. The limit is "
                "for an H200. On a slower GPU use --patience 3 (make gpu-check PATIENCE=3)."
            )
            found.append(Judged(State.wrong, why))
        elif end["state"] != "ended":
            what = {"begun": "the whole check was killed", "left out": end.get("why", "")}
            why = what.get(end["state"], "the time of the whole check ended")
            found.append(Judged(State.missing, f"{part.name}: {why}."))
    return found


def _of_errors(rows: list[Row]) -> list[Judged]:
    return [
        Judged(
            State.missing if row.get("may_fail") else State.wrong,
            f"{name(row)} failed: {first_line(row['error'])}",
        )
        for row in rows
        if "error" in row and row["row"] != PART
    ]


def _of_values(expected: Expected, rows: list[Row], *, rehearsal: bool) -> list[Judged]:
    about = [row for row in rows if expected.applies(row) and "error" not in row]
    what = f"{expected.part}, {expected.row}: {expected.value.replace('_', ' ')}"
    if where := ", ".join(map(_text, expected.where.values())):
        what += f" ({where})"
    have = [row for row in about if row.get(expected.value) is not None]
    computed = not rehearsal or expected.on_hollow
    if not computed and (have or expected.about_time or expected.optional):
        return [Judged(State.hollow, what)]
    if not have:
        state = State.wrong if rehearsal else State.missing
        return [] if expected.optional else [Judged(state, f"{what}: no row has it.")]
    failing = [row for row in have if not expected.holds(row[expected.value])]
    if not failing:
        values = sorted(float(row[expected.value]) for row in have)
        ends = dict.fromkeys(f"{value:.4g}" for value in (values[0], values[-1]))
        return [Judged(State.right, f"{what} is {' to '.join(ends)}, {expected.range}.")]
    state = State.slow if expected.about_time else State.wrong
    return [
        Judged(
            state,
            f"{name(row)}: {expected.value.replace('_', ' ')} is {row[expected.value]:.4g}, "
            f"expected {expected.range}. {expected.why}",
        )
        for row in failing
    ]


def derived(rows: list[Row]) -> list[Row]:
    """Return the rows with what only several of them together say."""
    runs = {(row["part"], row["run"]): row for row in rows if row["row"] == "run"}
    theirs = [row for row in rows if row["row"] == "trl" and "tokens_a_second" in row]
    found = []
    for row in rows:
        row = dict(row)
        if row["row"] == "run":
            _compare(row, runs.get((row["part"], row["compared_with"]), {}))
        if row["row"] == "training" and row.get("predicted_gib") and row.get("allocated_gib"):
            row["peak_of_predicted"] = row["allocated_gib"] / row["predicted_gib"]
        if row["row"] == "training":
            _beside_trl(row, theirs)
        found.append(row)
    return found


def _compare(row: Row, other: Row) -> None:
    here, there = row.get("losses"), other.get("losses")
    if here and there:
        alike = len(here) == len(there)
        steps = [_apart(*pair) for pair in zip(here, there, strict=False)]
        row["first_apart"] = steps[0]  # before anything was learned: rounding alone
        row["step_apart"] = max(steps)
        row["loss_apart"] = _apart(mean(here), mean(there)) if alike else math.inf
    before, after = row.get("heldout_before"), row.get("heldout_after")
    if before is not None and after is not None:
        row["heldout_gain"] = before - after
    if row.get("paged_bytes") is not None and row.get("predicted_gib"):  # a run on a GPU
        row["beyond_plan_gib"] = row["peak_gib"] - row["predicted_gib"]
    if other.get("paged_bytes"):
        row["paged_share"] = (row.get("paged_bytes") or 0) / other["paged_bytes"]


def _apart(one: float, other: float) -> float:
    return abs(one - other) / abs(other) if other else abs(one)


def _beside_trl(row: Row, theirs: list[Row]) -> None:
    beside = [
        other["tokens_a_second"]
        for other in theirs
        if (other["shape"], other["rows"]) == (row["shape"], row["rows"])
    ]
    if beside and row.get("tokens_a_second"):
        row["times_trl"] = row["tokens_a_second"] / max(beside)


def name(row: Row) -> str:
    """Return what a row is about: its part, its name and its case."""
    return ", ".join([row["part"], row["row"], *case(row)])


def case(row: Row) -> list[str]:
    """Return the settings of a row, as words."""
    told = []
    for key, value in row.items():
        if key in ("part", "row", "error", "may_fail", "compared_with"):
            continue
        if isinstance(value, str) and key != "said":
            told.append(value.removeprefix("torch."))
        elif isinstance(value, int) and not isinstance(value, bool) and key in _NUMBERS:
            told.append(f"{key.replace('_', ' ')} {value}")
    return [one for one in told if one]


_NUMBERS = ("heads", "kv_heads", "width", "window", "tokens", "labels", "vocabulary", "batch")


def first_line(error: str) -> str:
    return error.strip().splitlines()[0] if error.strip() else "no message"


def _text(value: Any) -> str:
    several = value if isinstance(value, tuple) else (value,)
    return " or ".join(str(one).removeprefix("torch.") or "default" for one in several)
