"""Log metrics and generations to trackio: on this machine, in a Space, or on a server.

A Space needs `hf auth login`; a server of one's own TRACKIO_SERVER_URL and TRACKIO_WRITE_TOKEN.
Nothing here reads a token.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anima_exp.libraries.trackio_internals import logs_of, next_step, quiet
from anima_exp.results.trackers.base import Held, Pairs, Row, TrackedRun, without_secrets
from anima_exp.system.atomic import atomic_write_text


class Trackio:
    label = "trackio"
    live = True

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._held = Held()
        self._new = True
        self._project = run.config.tracking.project
        self._space = run.config.tracking.trackio_space or os.environ.get("TRACKIO_SPACE_ID")
        self._server = None if self._space else os.environ.get("TRACKIO_SERVER_URL")
        self.note: str | None = self._where()

    def start(self) -> None:
        known = self._id_file.read_text(encoding="utf-8").strip() if self._id_file.exists() else ""
        self._new = not known
        with quiet():
            import trackio

            self._tracked: Any = trackio.init(
                project=self._project,
                name=self._run.name,
                group=self._run.config.tracking.group,
                space_id=self._run.config.tracking.trackio_space,
                private=True,  # if the Space is new: it will hold prompts and responses
                config={**self._run.settings, "tags": self._run.tags},
                resume="allow" if known else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        if known:
            # trackio resumes the newest run of a name, which may be that of another folder.
            self._tracked.id = known
            self._held = _held(self._tracked)
        else:
            atomic_write_text(self._id_file, self._tracked.id)

    def resume(self, rows: Sequence[Row], generations: Sequence[tuple[int, Pairs]]) -> None:
        self.log(rows)
        for step, pairs in generations:
            if self._new:
                self.log_generations(step, pairs)

    def log(self, rows: Sequence[Row]) -> None:
        for step, values in self._held.missing(rows):
            self._tracked.log(values, step=step)

    def log_generations(self, step: int, pairs: Pairs) -> None:
        import trackio

        if step <= self._held.last("generations"):
            return
        rows = [[step, prompt, response] for prompt, response in pairs]
        table = trackio.Table(columns=["step", "prompt", "response"], data=rows)
        self._tracked.log({"generations": table}, step=step)

    def finish(self, scores: Mapping[str, float] | None, *, failed: bool) -> None:
        with quiet() as problems:
            self._tracked.finish()
        if problems:
            self.note = f"trackio: {without_secrets(problems[0]).lstrip('* ')}"

    @property
    def _id_file(self) -> Path:
        return self._run.folder / "trackio_id.txt"

    def _where(self) -> str:
        if self._space:
            return f"trackio: https://huggingface.co/spaces/{self._space}"
        if self._server:
            return f"trackio: {without_secrets(self._server)} (project {self._project})"
        return f"trackio: trackio show --project {shlex.quote(self._project)}"


def _held(run: object) -> Held:
    """Return the last step of each metric that trackio has of a resumed run.

    Only trackio's storage on this machine can be read. Of a remote run the last step is known, but
    not which metrics it has: that one step may be logged twice.
    """
    try:
        last: dict[str, int] = {}
        for row in logs_of(run):
            for key in row.keys() - {"step", "timestamp"}:
                last[key] = max(row["step"], last.get(key, row["step"]))
        return Held(last, before=-1 if last else next_step(run) - 1)
    except (ImportError, AttributeError, TypeError):  # another version of trackio
        return Held()
