"""Export a comparison as Markdown, LaTeX, CSV or JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from anima_exp.comparison.baseline import Baseline
from anima_exp.comparison.build import Comparison
from anima_exp.comparison.columns import columns, differences, stages, stages_caption
from anima_exp.comparison.leaderboard import Row
from anima_exp.comparison.settings import format_value
from anima_exp.comparison.verdict import leaders
from anima_exp.display.tables import Column, escape_formula, escape_markdown, markdown_table
from anima_exp.metrics.intervals import Interval
from anima_exp.system import json_files
from anima_exp.system.terminal import printable


def markdown(comparison: Comparison) -> str:
    """Return the leaderboard, the differences from the baseline and the verdict as Markdown."""
    one = comparison
    parts = [markdown_table(columns(one, one.shown))]
    if one.left_out:
        parts.append(f"{escape_markdown(one.left_out)}\n")
    if one.baseline:
        if one.baseline.differences:
            parts.append(markdown_table(differences(one.baseline, one.metric)))
        parts.append(f"{escape_markdown(one.baseline.description)}\n")
    if one.reached:
        parts.append(f"{escape_markdown(stages_caption(one.metric))}:\n")
        parts.append(markdown_table(stages(one.reached[: one.top], one.metric)))
    said = " ".join(filter(None, [*one.conclusion, one.repeated, one.caution]))
    return "\n".join([*parts, f"{escape_markdown(said)}\n"])


def latex(comparison: Comparison) -> str:
    """Return the leaderboard as a LaTeX tabular with booktabs' rules, and the differences.

    The best row and all that do not differ from it beyond chance are bold, unless those are all
    rows.
    """
    found = columns(comparison, comparison.shown)
    best = {id(row) for row in leaders(comparison.rows, comparison.metric)}
    bold = (
        "the best row and all that do not differ from it beyond chance"
        if best
        else "none, because no row stands out"
    )
    lines = [
        "% \\usepackage{booktabs}",
        f"% Bold: {bold} (95 %, corrected for the number of rows).",
    ]
    if comparison.left_out:
        lines.append(f"% {_one_line(comparison.left_out)}")
    lines += _tabular(found, [id(row) in best for row in comparison.shown])
    if one := comparison.baseline:
        lines += ["", f"% {_one_line(one.description)}"]
        if one.differences:
            table = differences(one, comparison.metric)
            lines += _tabular(table, [False] * len(one.differences))
    return "\n".join(lines) + "\n"


def _tabular(table: Sequence[Column], bold: Sequence[bool]) -> list[str]:
    return [
        f"\\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in table)}}}",
        "\\toprule",
        _latex_line([column.heading for column in table]),
        "\\midrule",
        *(
            _latex_line(texts, bold=strong)
            for texts, strong in zip(_lines(table), bold, strict=True)
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]


def csv_table(comparison: Comparison) -> str:
    """Return the leaderboard as CSV, with all digits, hours and GiB.

    Text that would start a formula in a spreadsheet is prefixed with an apostrophe.
    """
    heads, lines = table_rows(comparison)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(escape_formula, heads))
    end = 1 + len(comparison.keys)
    for line in lines:
        values = [line[0], *map(_plain, line[1:end]), *line[end:]]
        writer.writerow(map(escape_formula, values))
    return buffer.getvalue()


def table_rows(comparison: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Return the heads of the leaderboard's columns, and for each row the values as they are."""
    others = list(dict.fromkeys(name for row in comparison.rows for name in row.others))
    scores = [comparison.metric.name, *others]
    parts = [f"{name}{part}" for name in scores for part in ("", "_low", "_high", "_n")]
    heads = ["rank", *comparison.keys, *parts, "steps", "tokens", "hours", "memory_gib", "runs"]
    lines = []
    for row in comparison.shown:
        values: list[Any] = [row.rank, *(row.cell.settings[key] for key in comparison.keys)]
        for one in (row.score, *(row.others.get(name) for name in others)):
            values += [one.mean, one.low, one.high, one.n] if one else [None, None, None, 0]
        values += [row.steps, row.tokens, row.hours, row.memory_gib]
        lines.append([*values, " ".join(run.name for run in row.cell.runs)])
    return heads, lines


def json_text(comparison: Comparison) -> str:
    """Everything there is."""
    one = comparison
    found = {
        json_files.KEY: json_files.COMPARISON,
        "metric": {"name": one.metric.name, "direction": one.metric.direction},
        "counts": dict(one.counts),
        "settings": one.keys,
        "leaderboard": [_row(row) for row in one.shown],
        "left_out": one.left_out,
        "answer": asdict(one.answer) if one.answer else None,
        "verdict": one.verdict,
        "caution": one.caution,
        "repeated": one.repeated,
        "effects": asdict(one.effects),
        "baseline": _baseline(one.baseline) if one.baseline else None,
        "reached": [asdict(one) for one in one.reached],
        "published": [
            {
                "source": table.table.source,
                "metric": table.table.metric,
                "confirmed": table.table.confirmed,
                "note": table.table.note,
                "matched_by": table.matched,
                "rows": [
                    {"settings": row, "published": value, "ours": _interval(ours)}
                    for row, value, ours in table.rows
                ],
            }
            for table in one.published
        ],
        "sweeps": [
            {"name": s.name, "question": s.question, "command": s.command, "stopped": s.stopped}
            for s in one.runs.sweeps
        ],
        "runs": [
            {
                "name": run.name,
                "folder": str(run.folder),
                "state": run.state.value,
                "failure": run.failure,
                "overrides": run.overrides,
                "scores": run.scores,
                "scores_before": run.scores_before,
            }
            for run in one.runs.runs
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "markdown": markdown,
    "csv": csv_table,
    "json": json_text,
    "latex": latex,
}


def _lines(table: Sequence[Column]) -> list[list[str]]:
    return [list(texts) for texts in zip(*(column.texts for column in table), strict=True)]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # at the start of a row it would belong to the end of the row before
    "]": "{]}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def _latex_line(texts: Sequence[str], *, bold: bool = False) -> str:
    safe = ["".join(_LATEX.get(letter, letter) for letter in _one_line(t)) for t in texts]
    return " & ".join(f"\\textbf{{{t}}}" if bold else t for t in safe) + r" \\"


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _plain(value: object) -> Any:
    return (
        value
        if isinstance(value, int | float) and not isinstance(value, bool)
        else format_value(value)
    )


def _row(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "best": row.best,
        "label": row.cell.label,
        "settings": row.cell.settings,
        "score": _interval(row.score),
        "other_scores": {name: _interval(interval) for name, interval in row.others.items()},
        "steps": row.steps,
        "tokens": row.tokens,
        "hours": row.hours,
        "memory_gib": row.memory_gib,
        "runs": {run.name: run.seed for run in row.cell.runs},
        "folders": [str(run.folder) for run in row.cell.runs],
    }


def _baseline(baseline: Baseline) -> dict[str, Any]:
    found = asdict(baseline) | {"told": baseline.description}
    for one, difference in zip(found["differences"], baseline.differences, strict=True):
        one["word"] = difference.word
    return found


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return asdict(interval) if interval else None
