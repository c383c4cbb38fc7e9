"""Log metrics and generations to Weights & Biases, online or in files that are synced later.

Keys come only from WANDB_API_KEY or `wandb login`. Nothing here reads or writes one.
"""

import secrets
import shlex
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anima_exp.config import RunConfig, TrackingMode
from anima_exp.results.trackers import wandb_account
from anima_exp.results.trackers.base import Pairs, Row, TrackedRun
from anima_exp.system.atomic import atomic_write_text

_ID = "wandb_id.txt"
_FIRST_CONTACT_SECONDS = 30
_LAST_CONTACT_SECONDS = 60  # for what is still to be sent at the end
_GRACE_SECONDS = 15  # in which W&B's own process must notice that its time is over


class WandB:
    """One W&B run.

    `note` says in one line where the run can be seen, or how to sync it later.
    """

    label = "W&B"

    def __init__(self, run: TrackedRun) -> None:
        self.note: str | None = None
        self.live = False
        self._tracked = run
        self._run: Any = None
        self._new = not (run.folder / _ID).exists()

    def start(self) -> None:
        self._start(self._tracked.config, self._tracked.folder)

    def resume(self, rows: Sequence[Row], generations: Sequence[tuple[int, Pairs]]) -> None:
        """Log the rows to a new W&B run. An earlier run has them, and accepts no earlier steps."""
        if self._new:
            self.log(rows)
            for step, pairs in generations:
                self.log_generations(step, pairs)

    def log(self, rows: Sequence[Row]) -> None:
        for step, values in rows if self._run is not None else []:
            self._run.log(values, step=step)

    def log_generations(self, step: int, pairs: Pairs) -> None:
        """Log (prompt, response) pairs as a W&B table."""
        if self._run is None:
            return
        import wandb

        rows = [[step, prompt, response] for prompt, response in pairs]
        table = wandb.Table(columns=["step", "prompt", "response"], data=rows)
        self._run.log({"generations": table}, step=step)

    def finish(self, scores: Mapping[str, float] | None, *, failed: bool) -> None:
        if self._run is None:
            return
        for key, value in (scores or {}).items():
            self._run.summary[key] = value
        self._finish(int(failed))

    def _finish(self, exit_code: int) -> None:
        """Finish the W&B run, and wait for a limited time only."""
        offline = bool(self._run.offline)
        folder = Path(self._run.dir).parent
        errors: list[Exception] = []

        def finish() -> None:
            try:
                self._run.finish(exit_code=exit_code)
            except Exception as error:
                errors.append(error)

        finishing = threading.Thread(target=finish, daemon=True)
        finishing.start()
        finishing.join(_LAST_CONTACT_SECONDS + _GRACE_SECONDS)
        if finishing.is_alive() or any(isinstance(one, TimeoutError) for one in errors):
            self.note = (
                f"W&B did not accept everything within {_LAST_CONTACT_SECONDS:g} s. To send it "
                f"later: wandb sync {shlex.quote(str(folder))}"
            )
        elif errors:
            raise errors[0]
        elif offline:
            self.note = _how_to_sync(folder.parent, str(self._run.id))

    def _start(self, config: RunConfig, folder: Path) -> None:
        import wandb

        mode: Any = _mode(config.tracking.mode)
        if mode == "disabled":
            return
        settings: dict[str, Any] = {
            "silent": True,
            "console": "off",
            "init_timeout": _FIRST_CONTACT_SECONDS,
            "x_disable_machine_info": True,
            "disable_git": True,
            "disable_code": True,
            "x_save_requirements": False,  # record.json names the versions that matter
        }
        if "finish_timeout" in wandb.Settings.model_fields:
            settings |= {"finish_timeout": _LAST_CONTACT_SECONDS, "finish_timeout_raises": True}
        how: dict[str, Any] = {
            "project": config.tracking.project,
            "entity": config.tracking.entity,
            "group": config.tracking.group,
            "tags": self._tracked.tags,
            "id": _run_id(folder),
            "name": self._tracked.name,
            "resume": "allow",
            "config": dict(self._tracked.settings),
            # W&B's own process may be one that a parent started, in another folder.
            "dir": str(folder.resolve()),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # W&B's own, about its own dependencies
            try:
                self._run = wandb.init(mode=mode, settings=wandb.Settings(**settings), **how)
            except Exception:
                if mode != "online" or config.tracking.mode is TrackingMode.online:
                    raise
                if wandb.run is not None:  # the caller's own run, which a teardown would end
                    raise
                mode = "offline"
                wandb.teardown()  # otherwise its process keeps the id of the failed run
                self._run = wandb.init(mode=mode, settings=wandb.Settings(**settings), **how)
        self.live = mode == "online"
        if self.live:
            self.note = f"W&B: {self._run.url}"
        else:
            self.note = _how_to_sync(Path(self._run.dir).parents[1], str(self._run.id))


def _run_id(folder: Path) -> str:
    """Return the W&B id in the run folder, so that an interrupted run resumes its W&B run."""
    file = folder / _ID
    if not file.exists():
        atomic_write_text(file, secrets.token_hex(8))
    return file.read_text(encoding="utf-8").strip()


def _how_to_sync(folder: Path, run_id: str) -> str:
    """Return the command that sends the offline files. Each start of a run has its own folder."""
    parts = sorted(
        part for part in folder.glob(f"offline-run-*-{run_id}") if not any(part.glob("*.synced"))
    )
    return f"W&B offline; later: wandb sync {' '.join(shlex.quote(str(part)) for part in parts)}"


def _mode(wanted: TrackingMode) -> Any:
    """Return the mode: online if there is a key and its server answers."""
    if wanted is not TrackingMode.auto:
        return wanted.value
    if chosen := wandb_account.chosen_mode():
        return chosen
    if not wandb_account.has_key():
        return "offline"
    import wandb

    return "offline" if wandb_account.unreachable(wandb.Settings().base_url) else "online"
