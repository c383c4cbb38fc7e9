"""Write lists of runs, one run, and the difference of two as JSON or CSV."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from anima_exp.display.tables import escape_formula
from anima_exp.inspection.detail import RunDetail
from anima_exp.inspection.difference import Difference
from anima_exp.inspection.listing import RunSummary


def list_as_json(runs: Sequence[RunSummary]) -> str:
    """Return a JSON list with an object for each run."""
    return _json([_summary(run) for run in runs])


def list_as_csv(runs: Sequence[RunSummary]) -> str:
    """Return CSV with a row for each run; no cell is a formula to a spreadsheet."""
    rows = [_summary(run) for run in runs]
    return _csv(rows, [*_summary_fields()])


def run_as_json(detail: RunDetail, settings: dict[str, Any], overrides: list[str]) -> str:
    """Return one run; `changed_settings` are those that differ from the defaults."""
    record = detail.record
    values = {
        **_summary(detail.summary),
        "overrides": overrides,
        "changed_settings": settings,
        "settings": dict(detail.settings),
        "scores": {name: asdict(score) for name, score in detail.scores.items()},
        "parameters": record.parameters if record else {},
        "report": record.report if record else {},
        "failure": detail.failure,
        "checkpoint_step": detail.checkpoint_step,
        "files": [asdict(one) for one in detail.files],
    }
    return _json(values)


def difference_as_json(diff: Difference) -> str:
    """Return what differs; each pair is a list of the first and the second run's value."""
    return _json(
        {
            "runs": [str(one.summary.folder) for one in (diff.first, diff.second)],
            "settings": dict(diff.settings),
            "other_settings": dict(diff.other_settings),
            "scores": dict(diff.scores),
            "costs": dict(diff.costs),
            "versions": dict(diff.versions),
        }
    )


def difference_as_csv(diff: Difference) -> str:
    """Return a row for each thing that differs: what it is, its name, and both values."""
    groups = {
        "setting": diff.settings,
        "score": diff.scores,
        "cost": diff.costs,
        "other setting": diff.other_settings,
        "version": diff.versions,
    }
    rows = [
        {"kind": kind, "name": name, "first": pair[0], "second": pair[1]}
        for kind, pairs in groups.items()
        for name, pair in pairs.items()
    ]
    return _csv(rows, ["kind", "name", "first", "second"])


def _summary(run: RunSummary) -> dict[str, Any]:
    changed = datetime.fromtimestamp(run.changed, UTC).isoformat(timespec="seconds")
    values = (
        run.name, str(run.folder), run.status.value, run.step, run.steps, changed, run.metric,
        run.score, run.note,
    )  # fmt: skip
    return dict(zip(_summary_fields(), values, strict=True))


def _summary_fields() -> tuple[str, ...]:
    return ("run", "folder", "status", "step", "steps", "changed", "metric", "score", "note")


def _json(values: object) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _csv(rows: Sequence[dict[str, Any]], fields: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: escape_formula(_cell(value)) for key, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
