"""Metrics and generations -> Weights & Biases, which may fail without the run noticing.

Keys come from WANDB_API_KEY or `wandb login` alone; nothing here reads or writes one.
"""

import secrets
import shlex
import threading
import warnings
from pathlib import Path
from typing import Any

from anima_exp.config import RunConfig, TrackingMode
from anima_exp.errors import first_line
from anima_exp.results import identity, wandb_account
from anima_exp.results.files import write_text

_FIRST_CONTACT_SECONDS = 30
_LAST_CONTACT_SECONDS = 60  # for what is still to be sent at the end
_GRACE_SECONDS = 15  # until W&B's own process must have noticed that its time is over


class Tracker:
    """One W&B run, or none (`tracking=none`, W&B broken): then every call does nothing.

    `note` says in one line where the run can be seen, or how to sync it later.
    """

    def __init__(self, config: RunConfig, folder: Path, *, processes: int = 1) -> None:
        self.processes = processes
        self.note: str | None = None
        self._run: Any = None
        if config.tracking.mode is TrackingMode.disabled:
            return
        try:
            self._start(config, folder)
        except Exception as error:  # whatever W&B does, the run goes on
            self._give_up(error)

    def log(self, row: dict[str, Any]) -> None:
        if self._run is None:
            return
        try:
            values = {k: v for k, v in row.items() if k != "step" and isinstance(v, int | float)}
            self._run.log(values, step=row["step"])
        except Exception as error:
            self._give_up(error)

    def log_generations(self, step: int, generations: list[tuple[str, str]]) -> None:
        """(prompt, response) pairs as a W&B table."""
        if self._run is None:
            return
        try:
            import wandb

            rows = [[step, prompt, response] for prompt, response in generations]
            table = wandb.Table(columns=["step", "prompt", "response"], data=rows)
            self._run.log({"generations": table}, step=step)
        except Exception as error:
            self._give_up(error)

    def finish(self, scores: dict[str, float] | None = None, *, failed: bool = False) -> None:
        if self._run is None:
            return
        try:
            for key, value in (scores or {}).items():
                self._run.summary[key] = value
            self._finish(int(failed))
        except Exception as error:
            self._give_up(error)
        self._run = None

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
                f"W&B did not accept everything within {_LAST_CONTACT_SECONDS:g} s; later: "
                f"wandb sync {shlex.quote(str(folder))}"
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
        name = identity.name(config)
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
        tags = [config.model.name, config.data.name, config.quant.type.value, *config.tracking.tags]
        how: dict[str, Any] = {
            "project": config.tracking.project,
            "entity": config.tracking.entity,
            "group": config.tracking.group,
            "tags": sorted(set(tags)),
            "id": _run_id(folder),
            "name": name,
            "resume": "allow",
            "config": {**identity.flatten(config), "processes": self.processes},
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
                if wandb.run is not None:  # the caller's own, which a teardown would end
                    raise
                mode = "offline"
                wandb.teardown()  # else its process keeps the id of the run that did not begin
                self._run = wandb.init(mode=mode, settings=wandb.Settings(**settings), **how)
        if mode == "online":
            self.note = f"W&B: {self._run.url}"
        else:
            self.note = _how_to_sync(Path(self._run.dir).parents[1], str(self._run.id))

    def _give_up(self, error: Exception) -> None:
        reason = wandb_account.without_keys(first_line(error))
        self.note = f"W&B is off: {reason} The run goes on; metrics.jsonl has everything."
        self._run = None


def _run_id(folder: Path) -> str:
    """Kept in the run folder, so that an interrupted run goes on in the same W&B run."""
    file = folder / "wandb_id.txt"
    if not file.exists():
        write_text(file, secrets.token_hex(8))
    return file.read_text(encoding="utf-8").strip()


def _how_to_sync(folder: Path, run_id: str) -> str:
    """The command that sends what was kept offline: each start of a run has a folder of its own."""
    parts = sorted(
        part for part in folder.glob(f"offline-run-*-{run_id}") if not any(part.glob("*.synced"))
    )
    return f"W&B offline; later: wandb sync {' '.join(shlex.quote(str(part)) for part in parts)}"


def _mode(wanted: TrackingMode) -> Any:
    """Online where there is a key and its server answers."""
    if wanted is not TrackingMode.auto:
        return wanted.value
    if chosen := wandb_account.chosen_mode():
        return chosen
    if not wandb_account.has_key():
        return "offline"
    import wandb

    return "offline" if wandb_account.unreachable(wandb.Settings().base_url) else "online"
