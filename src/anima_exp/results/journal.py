"""Record everything that a run measures: in its files, in the trackers and as events."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anima_exp.events import Began, Ended, Evaluated, Logged, emit, say
from anima_exp.results.folder import STARTS
from anima_exp.results.tracking import Tracker
from anima_exp.system.atomic import flush
from anima_exp.system.json_lines import JsonLinesLog

ACCURACIES = "accuracies.jsonl"
PART = "part"  # of a row of metrics.jsonl: what was measured apart, after the last evaluation


class MetricsLog:
    """Opened at step 0, or at the checkpoint that the run resumes from (`resumed_at`).

    Args:
        vouched: what `vouch` returned when that checkpoint was written; None if that is unknown.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tracker: Tracker,
        steps: int,
        resumed_at: int | None = None,
        vouched: dict[str, Any] | None = None,
    ) -> None:
        self.tracker = tracker
        self._closed = False
        self._metrics = JsonLinesLog(folder / "metrics.jsonl")
        self._generations = JsonLinesLog(folder / "generations.jsonl")
        self._accuracies = JsonLinesLog(folder / ACCURACIES)

        marks = {one: mark for one in self._files if (mark := (vouched or {}).get(one.path.name))}
        damaged = {one: mark for one, mark in marks.items() if not one.intact(mark)}

        def before_checkpoint(row: dict[str, Any]) -> bool:
            # What a crashed run did past its checkpoint is done again; so is the evaluation of
            # the last step, which comes after the last checkpoint.
            trained = "loss" in row
            return (
                resumed_at is not None
                and PART not in row
                and row["step"] <= resumed_at
                and (trained or row["step"] < steps)
            )

        self._metrics.keep(before_checkpoint)
        self._generations.keep(before_checkpoint)
        self._accuracies.keep(before_checkpoint)
        if resumed_at:
            self._report(damaged, resumed_at, known=vouched is not None)
        emit(Began(steps, resumed_at or 0))

    def vouch(self) -> dict[str, Any]:
        """Bring every line to the disk, and return by file what a checkpoint relies on."""
        marks = {lines.path.name: lines.vouch() for lines in self._files}
        starts = self._metrics.path.parent / STARTS
        if starts.exists():
            flush(starts)
        flush(self._metrics.path.parent)  # which holds the names of new files
        return {name: mark for name, mark in marks.items() if mark}

    def _report(self, damaged: dict[JsonLinesLog, Any], step: int, *, known: bool) -> None:
        """Say what is missing of the lines up to the checkpoint."""
        gaps = []
        if not known and not any("loss" in row for row in self._metrics.rows()):
            gaps.append(f"{self._metrics.path.name} contains no loss")
        for lines, mark in damaged.items():
            left, then = len(lines.rows()), mark["lines"]
            what = f"{left:,} of the {then:,} lines" if left < then else "other lines than those"
            gaps.append(f"{lines.path.name} contains {what}")
        for gap in gaps:
            say(
                f"journal  {gap} that the run wrote up to step {step}: the run resumes, but its "
                "curves and scores have a gap there. Use another run_dir=... to train it anew."
            )

    @property
    def _files(self) -> tuple[JsonLinesLog, ...]:
        return self._metrics, self._generations, self._accuracies

    def trained(self, row: dict[str, Any]) -> None:
        """One log line of the training loop: step, loss, tokens, ..."""
        self._metrics.append(row)
        self.tracker.log(row)
        emit(Logged(row))

    def evaluated(
        self,
        step: int,
        scores: dict[str, float],
        answers: list[tuple[str, str]],
        seconds: float,
        accuracies: Mapping[str, list[dict[str, Any]]] | None = None,
        metrics: Mapping[str, Any] | None = None,
        *,
        part: str | None = None,
    ) -> None:
        """One evaluation: scores, (question, answer) pairs, and by benchmark the accuracies.

        Args:
            metrics: descriptions by score, as of metrics/metric.py.
            part: what was measured apart, at the end; a run that resumes measures it again.
        """
        row: dict[str, Any] = {"step": step, **scores, "eval_seconds": seconds}
        if part:
            row[PART] = part
        self._metrics.append(row)
        self.tracker.log(row)
        for question, answer in answers:
            self._generations.append({"step": step, "prompt": question, "response": answer})
        for benchmark, rows in (accuracies or {}).items():
            for found in rows:
                self._accuracies.append({"step": step, "benchmark": benchmark, **found})
        if answers:
            self.tracker.log_generations(step, answers)
        emit(Evaluated(step, scores, answers, metrics))

    def resume_tracking(self) -> None:
        """Log what earlier starts computed, where a tracker does not have it."""
        rows = self._metrics.rows()
        steps = sorted({row["step"] for row in self._generations.rows()})
        self.tracker.resume(rows, [(step, self.answers(step)) for step in steps])

    def close(self) -> None:
        if not self._closed:
            emit(Ended())
        self._closed = True

    def failed(self, *, orderly: bool) -> None:
        """The run ends before its last step; `orderly` if it is to go on later."""
        self.close()
        self.tracker.finish(failed=not orderly)

    def finish(self, scores: dict[str, float]) -> None:
        """Tell the trackers the scores of the weights that the run leaves."""
        self.tracker.finish(scores)

    def answers(self, step: int) -> list[tuple[str, str]]:
        rows = [row for row in self._generations.rows() if row["step"] == step]
        return [(str(row.get("prompt")), str(row.get("response"))) for row in rows]

    def accuracies(self, step: int) -> list[dict[str, Any]]:
        """Of every benchmark, by subject, category and mean."""
        return [row for row in self._accuracies.rows() if row["step"] == step]

    def scores(self, step: int) -> dict[str, float]:
        """What the evaluation at `step` found; {} if there was none."""
        found = [r for r in self._metrics.rows() if r["step"] == step and "eval_seconds" in r]
        merged = {k: v for row in found for k, v in row.items()}  # answers are measured apart
        scores = {k: v for k, v in merged.items() if k not in ("step", "eval_seconds")}
        return {k: v for k, v in scores.items() if _is_number(v)}

    @property
    def eval_seconds(self) -> float:
        seconds = (row.get("eval_seconds", 0.0) for row in self._metrics.rows())
        return float(sum(one for one in seconds if _is_number(one)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class NullMetricsLog:
    """What a process keeps that shares a run with the one that writes: nothing."""

    eval_seconds = 0.0

    def vouch(self) -> dict[str, Any]:
        return {}

    def trained(self, row: dict[str, Any]) -> None:
        pass

    def evaluated(self, *_: object, **__: object) -> None:
        pass

    def close(self) -> None:
        pass

    def failed(self, *, orderly: bool) -> None:
        pass

    def finish(self, scores: dict[str, float]) -> None:
        pass

    def answers(self, step: int) -> list[tuple[str, str]]:
        return []

    def scores(self, step: int) -> dict[str, float]:
        return {}
