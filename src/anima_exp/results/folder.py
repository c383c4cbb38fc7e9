"""A run's folder: claimed by one process, never shared by two settings, its state plain to see.

record.json     the run is done
failure.txt     it failed, and why
checkpoints/    it was interrupted, or runs; the same command goes on from the newest
settings.json   what it computes; other settings never overwrite it
"""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from anima_exp.config import RunConfig
from anima_exp.errors import RunError
from anima_exp.results import identity
from anima_exp.results.files import read_json, write_json, write_text
from anima_exp.results.record import RECORD


class RunFolder:
    """The folder of `config`, locked while `with RunFolder(config) as folder:` lasts.

    Raises:
        RunError: another process has it, it holds a run of other settings, or it is no run folder.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.path = Path(config.folder or Path(config.runs) / identity.name(config)).expanduser()
        self._lock = FileLock(self.path / ".lock")

    def __enter__(self) -> "RunFolder":
        try:
            self._refuse_foreign()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"{self.path} is in use by another process ({self._owner()}). "
                "Wait for it, or give this run another folder=..."
            ) from error
        except OSError as error:
            raise RunError(
                f"Cannot write to {self.path}: {error.strerror}. Give runs=FOLDER."
            ) from error
        write_text(self.path / ".owner", f"process {os.getpid()} on {socket.gethostname()}")
        try:
            self._claim()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        (self.path / ".owner").unlink(missing_ok=True)
        self._lock.release()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def done(self) -> bool:
        return (self.path / RECORD).is_file()

    def failed(self, reason: str) -> None:
        """Leave word of why the run stopped; the next start removes it."""
        write_text(self.path / "failure.txt", reason + "\n")

    def count_start(self) -> int:
        """Note this start; 1 for a run that was never interrupted."""
        with (self.path / "starts.txt").open("a+", encoding="utf-8") as file:
            file.write(datetime.now(UTC).isoformat(timespec="seconds") + "\n")
            file.seek(0)
            return len(file.readlines())

    def _refuse_foreign(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunError(f"folder={self.path} is a file. Give a folder.")
        if not (self.path / "settings.json").exists():
            others = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
            if others:
                named = ", ".join(sorted(others)[:3])
                raise RunError(
                    f"folder={self.path} holds other files ({named}) and no run. "
                    "Give an empty or a new folder."
                )

    def _claim(self) -> None:
        (self.path / "failure.txt").unlink(missing_ok=True)
        file, now = self.path / "settings.json", identity.relevant(self.config)
        if not file.exists():
            write_json(file, now)
            return
        then = read_json(file)
        differ = [key for key in {**now, **then} if now.get(key) != then.get(key)]
        if differ:
            pairs = [f"{key}={now.get(key)} here, {then.get(key)} there" for key in differ[:3]]
            more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
            raise RunError(
                f"{self.path} holds a run with other settings: {'; '.join(pairs)}{more}. "
                "Nothing was changed. Give another folder=..., or none: then the settings name it."
            )

    def _owner(self) -> str:
        try:
            return (self.path / ".owner").read_text(encoding="utf-8")
        except OSError:
            return "unknown"
