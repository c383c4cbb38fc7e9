"""Metrics and generations -> Weights & Biases, which may fail without the run noticing.

Keys come from WANDB_API_KEY or `wandb login` alone; nothing here reads or writes one.
"""

import netrc
import os
import secrets
import shlex
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from anima_exp.config import RunConfig, TrackingMode
from anima_exp.errors import first_line
from anima_exp.results import identity
from anima_exp.results.files import write_text

_FIRST_CONTACT_SECONDS = 30


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
            self._run.finish(exit_code=int(failed))
        except Exception as error:
            self._give_up(error)
        self._run = None

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
                mode = "offline"
                self._run = wandb.init(mode=mode, settings=wandb.Settings(**settings), **how)
        if mode == "online":
            self.note = f"W&B: {self._run.url}"
        else:
            self.note = (
                f"W&B offline; later: wandb sync {shlex.quote(str(Path(self._run.dir).parent))}"
            )

    def _give_up(self, error: Exception) -> None:
        reason = first_line(error)
        self.note = f"W&B is off: {reason} The run goes on; metrics.jsonl has everything."
        self._run = None


def _run_id(folder: Path) -> str:
    """Kept in the run folder, so that an interrupted run goes on in the same W&B run."""
    file = folder / "wandb_id.txt"
    if not file.exists():
        write_text(file, secrets.token_hex(8))
    return file.read_text(encoding="utf-8").strip()


def _mode(wanted: TrackingMode) -> Any:
    """Online where a key is at hand; whether the network is, W&B finds out."""
    if wanted is not TrackingMode.auto:
        return wanted.value
    if chosen := os.environ.get("WANDB_MODE"):
        return chosen
    return "online" if has_key() else "offline"


def has_key() -> bool:
    """Whether `wandb login` or the environment left a key; its value is not looked at."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
