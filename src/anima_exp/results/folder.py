"""Manage a run's folder: one process at a time uses it, and it belongs to one set of settings.

record.json     the run is done
failure.txt     the run failed, and why
checkpoints/    the run was interrupted or is running; the same command resumes from the newest
log.txt         the output of a cell of a sweep
settings.json   the settings that determine the result; they are never overwritten by others
"""

import os
import re
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from anima_exp.config import RunConfig
from anima_exp.config.former_names import todays
from anima_exp.errors import InUseError, RunError, first_line, without_password
from anima_exp.events import say
from anima_exp.results import identity
from anima_exp.results.record import RECORD, Record
from anima_exp.system import json_files
from anima_exp.system.atomic import atomic_write_text, disk_errors_as_run_error, write_json
from anima_exp.system.paths import expanded, is_file

LOG = "log.txt"
LOCK = ".lock"
STARTS = "starts.txt"
FAILURE = "failure.txt"
SETTINGS = "settings.json"
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00")


def run_folder(config: RunConfig, name: str | None = None) -> Path:
    """Where a run lives: `run_dir`, or in `runs_dir` under the name of what it computes.

    Args:
        name: the run's name, if the caller has it already: computing it takes 1 ms.
    """
    if config.run_dir:
        return expanded(config.run_dir, "run_dir")
    return expanded(config.runs_dir, "runs_dir") / (name or identity.run_name(config))


class RunFolder:
    """The folder of a run, locked inside `with RunFolder(config) as folder:`.

    Raises:
        InUseError: if another process is using the folder.
        RunError: if the folder has a run with other settings, or is not a run folder.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.path = run_folder(config)
        self._lock = FileLock(self.path / LOCK)

    def __enter__(self) -> "RunFolder":
        try:
            self._refuse_foreign()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._claim()
        except Timeout as error:
            raise InUseError(
                f"{self.path} is in use by another process ({self._owner()}). "
                "Wait for it, or choose another run_dir=... for this run."
            ) from error
        except OSError as error:
            key = "run_dir" if self.config.run_dir else "runs_dir"
            raise RunError(
                f"Cannot write to {self.path}: {error.strerror}. Choose another {key}=FOLDER."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._owner_file.unlink(missing_ok=True)
        self._lock.release()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def done(self) -> bool:
        """Whether the run has a record. A damaged record does not count, and a line says so.

        Raises:
            RunError: if the record cannot be read, or a later version of anima-exp wrote it.
        """
        if not is_file(self.path / RECORD):
            return False
        try:
            Record.read(self.path)
        except OSError as error:
            file = self.path / RECORD
            raise RunError(f"Cannot read {file}: {error.strerror}. Make it readable.") from error
        except ValueError as error:
            say(f"record   {self.path / RECORD} is damaged and will be written again: {error}")
            return False
        return True

    def mark_failed(self, reason: str) -> None:
        """Write failure.txt, which the next start removes."""
        with suppress(OSError):  # a full disk has been reported already
            atomic_write_text(self.path / FAILURE, without_password(reason) + "\n")

    def record_launch(self, *, again: bool = False) -> int:
        """Record this launch, and return how often the run was launched.

        Args:
            again: whether the run resumes, so that there must have been a launch before.
        """
        file = self.path / STARTS
        before = file.read_bytes().splitlines() if file.exists() else []
        valid = [line for line in before if _TIME.fullmatch(line)]
        if len(valid) < len(before) or (again and not before):
            lost = f"{len(before) - len(valid)} lines are damaged" if before else "it is missing"
            say(f"starts   {file}: {lost}, so the number of starts in the record is too low")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with disk_errors_as_run_error(self.path):
            atomic_write_text(
                file, "".join(f"{line}\n" for line in [*map(bytes.decode, valid), now])
            )
        return len(valid) + 1

    def check_inputs(self, **inputs: str) -> None:
        """Refuse to resume with another base or other data than the run was started with.

        Settings do not show such changes: a hub branch may have moved, or a recipe changed.

        Args:
            inputs: fingerprints by name.

        Raises:
            RunError: if a fingerprint differs.
        """
        file = self.path / "inputs.json"
        then = self._read(file) if file.exists() and self._has_results() else inputs
        differ = [name for name, value in inputs.items() if then.get(name, value) != value]
        if differ:
            raise RunError(
                f"{self.path} was started with a different {' and different '.join(differ)}: the "
                "settings match, but what they refer to has changed. Nothing was written. "
                "Pin model.revision or data.revision, or start anew with another run_dir=..."
            )
        with disk_errors_as_run_error(self.path):
            write_json(file, json_files.stamp(inputs, json_files.SETTINGS))

    def _refuse_foreign(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunError(f"run_dir={self.path} is a file. Choose a folder.")
        if is_file(self.path / "settings.json"):
            return
        others = sorted(
            name
            for name in (path.name for path in self.path.iterdir())
            if not name.startswith(".")
            and not name.endswith(".part")
            and name not in (LOG, FAILURE)  # of a process that died early
        )
        if others:
            raise RunError(
                f"run_dir={self.path} contains other files ({', '.join(others[:3])}) but no run. "
                "Choose an empty or a new folder."
            )

    def _claim(self) -> None:
        try:
            self._refuse_other_settings()
            (self.path / FAILURE).unlink(missing_ok=True)
            for draft in self.path.glob("*.part"):  # of a process that was killed while it wrote
                if draft.is_file():
                    draft.unlink(missing_ok=True)
            if not self._known():
                settings = identity.identity_settings(self.config)
                values = json_files.stamp(settings, json_files.SETTINGS)
                write_json(self.path / SETTINGS, values)
            atomic_write_text(self._owner_file, f"process {os.getpid()} on {socket.gethostname()}")
        except BaseException:
            self._lock.release()
            raise

    def _refuse_other_settings(self) -> None:
        if not self._known():
            return
        now = todays(identity.identity_settings(self.config))
        then = todays(self._read(self.path / SETTINGS))
        differ = [key for key in {**now, **then} if now.get(key) != then.get(key)]
        if differ:
            pairs = [f"{key}={now.get(key)} now, {then.get(key)} before" for key in differ[:3]]
            more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
            raise RunError(
                f"{self.path} contains a run with other settings: {'; '.join(pairs)}{more}. "
                "Nothing was changed. Give another run_dir=..., or none: then the settings name it."
            )

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            return json_files.read_versioned(json_files.read_table(file), file, json_files.SETTINGS)
        except OSError as error:
            raise RunError(f"Cannot read {file}: {error.strerror}. Make it readable.") from error
        except ValueError as error:
            raise RunError(
                f"{file} is damaged: {first_line(error)}. It says what the run computes, so the "
                "run cannot resume without it. Restore the file, or choose another run_dir=..."
            ) from error

    def _known(self) -> bool:
        """Return whether settings.json describes results in this folder, so it must not change."""
        return (self.path / SETTINGS).exists() and self._has_results()

    def _has_results(self) -> bool:
        """Return whether the folder has results. A start that failed at once leaves none."""
        made = ("metrics.jsonl", "checkpoints", "record.json", "adapter", "model")
        return any((self.path / name).exists() for name in made)

    @property
    def _owner_file(self) -> Path:
        return self.path / ".owner"

    def _owner(self) -> str:
        try:
            return self._owner_file.read_text(encoding="utf-8")
        except OSError:
            return "unknown"
