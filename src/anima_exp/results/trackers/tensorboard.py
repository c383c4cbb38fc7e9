"""Write metrics and generations as TensorBoard's event files, in the run folder."""

import json
import logging
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from anima_exp.libraries.log_level import log_level
from anima_exp.results.trackers.base import Pairs, Row, TrackedRun

FOLDER = "tensorboard"
_TEXTS = "generations"


class TensorBoard:
    label = "TensorBoard"
    live = True

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._folder = run.folder / FOLDER
        self._new = True
        self._texts: set[int] = set()  # the steps of the texts that are there
        # The folder above shows the runs next to each other.
        self.note: str | None = (
            f"TensorBoard: tensorboard --logdir {shlex.quote(str(run.folder.absolute().parent))}"
        )

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorBoard's own, about its dependencies
            from torch.utils.tensorboard import SummaryWriter

            earlier = sorted(path.name for path in self._folder.glob("events.out.tfevents.*"))
            self._new = not earlier
            if earlier:
                _wait_for_a_later_name(earlier[-1])
                self._texts = self._earlier_texts()
            # TensorBoard hides what an earlier start wrote from this step on.
            purge = None if self._new else self._run.redo_from
            self._writer: Any = SummaryWriter(str(self._folder), purge_step=purge)
            if self._new or not self._run.redo_from:
                self._log_settings()
        self._writer.flush()

    def resume(self, rows: Sequence[Row], generations: Sequence[tuple[int, Pairs]]) -> None:
        self.log([row for row in rows if self._new or row[0] >= self._run.redo_from])
        for step, pairs in generations:
            if self._new or step >= self._run.redo_from:
                self.log_generations(step, pairs)

    def log(self, rows: Sequence[Row]) -> None:
        for step, values in rows:
            for key, value in values.items():
                self._writer.add_scalar(key, value, step)
        self._writer.flush()  # a run that is killed keeps every row that it logged

    def log_generations(self, step: int, pairs: Pairs) -> None:
        if step in self._texts:
            return
        text = "\n\n---\n\n".join(
            f"**prompt**\n\n{_verbatim(prompt)}\n\n**response**\n\n{_verbatim(response)}"
            for prompt, response in pairs
        )
        self._writer.add_text(_TEXTS, text, step)
        self._writer.flush()

    def finish(self, scores: Mapping[str, float] | None, *, failed: bool) -> None:
        if scores is not None:
            from torch.utils.tensorboard.summary import hparams

            *_, end = hparams({}, {})  # type: ignore[no-untyped-call]
            self._writer.file_writer.add_summary(end)
        self._writer.close()

    def _earlier_texts(self) -> set[int]:
        """Return the steps of the texts of earlier starts, which `purge_step` does not hide."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        with log_level("tensorboard", logging.ERROR):  # it would warn about each earlier start
            events = EventAccumulator(str(self._folder), size_guidance={"tensors": 0})
            events.Reload()
        tag = f"{_TEXTS}/text_summary"
        known = tag in events.Tags()["tensors"]
        return {event.step for event in events.Tensors(tag)} if known else set()

    def _log_settings(self) -> None:
        """Log the settings for the HPARAMS page, and as a text."""
        from torch.utils.tensorboard.summary import hparams

        values = {
            key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for key, value in self._run.settings.items()
        }
        _, start, _ = hparams(values, {})  # type: ignore[no-untyped-call]
        self._writer.file_writer.add_summary(start)
        lines = "\n".join(f"{key}={value}" for key, value in values.items())
        self._writer.add_text("settings", _verbatim(lines), 0)


def _wait_for_a_later_name(newest: str) -> None:
    """TensorBoard reads files by name, which begins with the second: wait for the next one."""
    second = newest.split(".")[3]
    for _ in range(11):  # not for ever, if the clock was set back
        if f"{int(time.time()):010}" > second:
            return
        time.sleep(0.1)


def _verbatim(text: str) -> str:
    """Return a block that TensorBoard's Markdown shows letter by letter."""
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
