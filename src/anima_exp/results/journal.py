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
TEXT = "neutral_text.jsonl"
PART = "part"  # in a row of metrics.jsonl: what was measured after the last evaluation


class MetricsLog:
    """The metrics, generations and accuracies of a run, in its files and in the trackers.

    Args:
        steps: the last step of the run.
        resumed_at: the step of the checkpoint that the run resumes from; None at the start.
        vouched: what `vouch` returned when that checkpoint was written; None if it is unknown.
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
        self._text = JsonLinesLog(folder / TEXT)

        marks = {one: mark for one in self._files if (mark := (vouched or {}).get(one.path.name))}
        damaged = {one: mark for one, mark in marks.items() if not one.intact(mark)}

        def before_checkpoint(row: dict[str, Any]) -> bool:
            # Steps after the checkpoint are trained again. The evaluation of the last step is
            # repeated too, because it follows the last checkpoint.
            trained = "loss" in row
            return (
                resumed_at is not None
                and PART not in row
                and row["step"] <= resumed_at
                and (trained or row["step"] < steps)
            )

        for one in self._files:
            one.keep(before_checkpoint)
        if resumed_at:
            self._report(damaged, resumed_at, known=vouched is not None)
        emit(Began(steps, resumed_at or 0))

    def vouch(self) -> dict[str, Any]:
        """Flush all lines to the disk, and return what a checkpoint must know of each file."""
        marks = {lines.path.name: lines.vouch() for lines in self._files}
        starts = self._metrics.path.parent / STARTS
        if starts.exists():
            flush(starts)
        flush(self._metrics.path.parent)  # for the names of new files
        return {name: mark for name, mark in marks.items() if mark}

    def _report(self, damaged: dict[JsonLinesLog, Any], step: int, *, known: bool) -> None:
        """Emit which lines up to the checkpoint are missing."""
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
        return self._metrics, self._generations, self._accuracies, self._text

    def trained(self, row: dict[str, Any]) -> None:
        """Log a line of the training loop: step, loss, tokens, ..."""
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
        text: Mapping[str, Any] | None = None,
        *,
        part: str | None = None,
    ) -> None:
        """Log an evaluation.

        Args:
            answers: pairs of a question and its answer.
            accuracies: the accuracy rows of each benchmark.
            metrics: descriptions of the user's own scores, for metrics/metric.py.
            text: the losses of the rows of evals.forgetting.
            part: the part of the last evaluation that was measured separately. A run that resumes
                measures it again.
        """
        row: dict[str, Any] = {"step": step, **scores, "eval_seconds": seconds}
        if part:
            row[PART] = part
        self._metrics.append(row)
        self.tracker.log(row)
        for question, answer in answers:
            self._generations.append({"step": step, "prompt": question, "response": answer})
        for benchmark, rows in (accuracies or {}).items():
            for accuracy in rows:
                self._accuracies.append({"step": step, "benchmark": benchmark, **accuracy})
        if text:
            self._text.append({"step": step, **text})
        if answers:
            self.tracker.log_generations(step, answers)
        emit(Evaluated(step, scores, answers, metrics))

    def resume_tracking(self) -> None:
        """Log what earlier starts computed to trackers that do not have it."""
        rows = self._metrics.rows()
        steps = sorted({row["step"] for row in self._generations.rows()})
        self.tracker.resume(rows, [(step, self.answers(step)) for step in steps])

    def close(self) -> None:
        """Emit that training has ended, once."""
        if not self._closed:
            emit(Ended())
        self._closed = True

    def failed(self, *, orderly: bool) -> None:
        """End the run in the trackers before its last step; `orderly` if it may resume later."""
        self.close()
        self.tracker.finish(failed=not orderly)

    def finish(self, scores: dict[str, float]) -> None:
        """Send the trackers the scores of the weights that the run keeps."""
        self.tracker.finish(scores)

    def answers(self, step: int) -> list[tuple[str, str]]:
        """Return the pairs of a sample question and its answer at a step."""
        rows = [row for row in self._generations.rows() if row["step"] == step]
        return [(str(row.get("prompt")), str(row.get("response"))) for row in rows]

    def accuracies(self, step: int) -> list[dict[str, Any]]:
        """Return the accuracies of all benchmarks at a step, by subject, category and mean."""
        return [row for row in self._accuracies.rows() if row["step"] == step]

    def text(self, step: int) -> dict[str, Any] | None:
        """Return the losses of the rows of evals.forgetting at a step; None if there are none."""
        rows = [row for row in self._text.rows() if row["step"] == step]
        return rows[-1] if rows else None

    def scores(self, step: int) -> dict[str, float]:
        """Return the scores at a step; {} if there was no evaluation."""
        rows = [r for r in self._metrics.rows() if r["step"] == step and "eval_seconds" in r]
        merged = {k: v for row in rows for k, v in row.items()}  # answers have a row of their own
        scores = {k: v for k, v in merged.items() if k not in ("step", "eval_seconds")}
        return {k: v for k, v in scores.items() if _is_number(v)}

    @property
    def eval_seconds(self) -> float:
        """The time of all evaluations."""
        seconds = (row.get("eval_seconds", 0.0) for row in self._metrics.rows())
        return float(sum(one for one in seconds if _is_number(one)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class NullMetricsLog:
    """The metrics log of a process that is not the main one. It keeps nothing."""

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
