"""A comparison -> text for other programs: Markdown, LaTeX, CSV, JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from anima_exp.compare.columns import columns
from anima_exp.compare.comparison import Comparison
from anima_exp.compare.leaderboard import Row
from anima_exp.compare.settings import written
from anima_exp.compare.statistics import Interval
from anima_exp.tables.column import Column
from anima_exp.tables.markdown import table, written_plainly


def markdown(comparison: Comparison) -> str:
    """The leaderboard as a table, and the verdict."""
    said = " ".join(filter(None, [*comparison.conclusion, comparison.caution]))
    return f"{table(columns(comparison, comparison.shown))}\n{written_plainly(said)}\n"


def latex(comparison: Comparison) -> str:
    """The leaderboard as a tabular with booktabs' rules; the best row is bold."""
    found = columns(comparison, comparison.shown)
    lines = [
        "% \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in found)}}}",
        "\\toprule",
        _latex_line([column.heading for column in found]),
        "\\midrule",
        *(
            _latex_line(texts, bold=row.rank == 1)
            for texts, row in zip(_lines(found), comparison.shown, strict=True)
        ),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def csv_table(comparison: Comparison) -> str:
    """One line a row of the leaderboard, in full digits, hours and GiB."""
    others = list(dict.fromkeys(name for row in comparison.rows for name in row.others))
    scores = [comparison.metric.name, *others]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    parts = [f"{name}{part}" for name in scores for part in ("", "_low", "_high", "_n")]
    costs = ["steps", "tokens", "hours", "memory_gib"]
    writer.writerow(["rank", *comparison.keys, *parts, *costs, "runs"])
    for row in comparison.shown:
        values: list[Any] = [row.rank]
        values += [_plain(row.cell.settings[key]) for key in comparison.keys]
        for interval in (row.score, *(row.others.get(name) for name in others)):
            values += (
                [interval.mean, interval.low, interval.high, interval.n]
                if interval
                else [
                    None,
                    None,
                    None,
                    0,
                ]
            )
        values += [row.steps, row.tokens, row.hours, row.memory_gib]
        writer.writerow([*values, " ".join(run.name for run in row.cell.runs)])
    return buffer.getvalue()


def json_text(comparison: Comparison) -> str:
    """Everything there is."""
    one = comparison
    found = {
        "metric": asdict(one.metric),
        "counts": dict(one.counts),
        "settings": one.keys,
        "leaderboard": [_row(row) for row in one.shown],
        "answer": asdict(one.answer) if one.answer else None,
        "verdict": one.verdict,
        "caution": one.caution,
        "effects": asdict(one.effects),
        "baseline": asdict(one.baseline) if one.baseline else None,
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


def _lines(found: Sequence[Column]) -> list[list[str]]:
    return [list(texts) for texts in zip(*(column.texts for column in found), strict=True)]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def _latex_line(texts: Sequence[str], *, bold: bool = False) -> str:
    safe = ["".join(_LATEX.get(letter, letter) for letter in " ".join(t.split())) for t in texts]
    return " & ".join(f"\\textbf{{{t}}}" if bold else t for t in safe) + r" \\"


def _plain(value: Any) -> Any:
    return (
        value if isinstance(value, int | float) and not isinstance(value, bool) else written(value)
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
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return asdict(interval) if interval else None
