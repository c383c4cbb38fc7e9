"""Define every exception that this package raises on purpose.

Each class says what it means and what to do.

* AnimaError          a mistake of the user
  - ConfigError
  - DataError
  - ModelError
  - RunError
    - InUseError
    - NewerFileError
  - TrainingError
  - SweepError
* RunEnded            a run ended early without a mistake
  - RunPaused
  - RunInterrupted
  - PeerLostError
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anima_exp.results.record import Record

# The user and password of a URL are removed from every message.
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)


def without_password(text: str) -> str:
    """Return `text` with `https://user:password@host` shortened to `https://host`."""
    return _LOGIN.sub(r"\1", text) if "://" in text else text


def without_passwords(value: object) -> Any:
    """Return a JSON value with `without_password` applied to each text in it."""
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, dict):
        return {without_passwords(key): without_passwords(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(inner) for inner in value]
    return value


class _Said(Exception):
    """An exception that a command prints in one line before it exits with `exit_status`.

    `reported` is true if another process of the run has printed it already.
    """

    exit_status = 1

    def __init__(self, message: str, *, reported: bool = False) -> None:
        super().__init__(without_password(message))  # it may reach failure.txt and a page
        self.reported = reported


class AnimaError(_Said):
    """Base class of every mistake of the user; a bug or a stop is none of them.

    Read its one line: it names the setting and the way out.
    """


class ConfigError(AnimaError):
    """A setting is unknown, missing, of the wrong type, or contradicts another.

    Change the setting that the message names. `anima-exp help KEY` explains it.
    """


class DataError(AnimaError):
    """A data source cannot be read, or a row is not what its recipe expects.

    Correct the file at the row that the message names, or set `data.on_bad_row=skip`.
    """


class ModelError(AnimaError):
    """A base model or tokenizer cannot be loaded, or does not fit a setting.

    Check `model.source`, the licence on the hub and the files that the message names.
    """


class RunError(AnimaError):
    """A run folder belongs to other settings, or a file cannot be read or written.

    Choose another `run_dir`, or repair the file or permission that the message names.
    """


class InUseError(RunError):
    """Another process is working on the same run or file.

    Wait for the process that the message names, or stop it.
    """


class NewerFileError(RunError):
    """A later version of anima-exp wrote a file that this version cannot read.

    Install that version, or use another folder.
    """


class TrainingError(AnimaError):
    """Training cannot continue: no gradient, a loss that is not finite, or out of memory.

    See `troubleshooting` in the documentation. The last checkpoint is kept.
    """


class SweepError(AnimaError):
    """Some runs of a sweep failed; all others are done.

    Read `failure.txt` of the failed runs. The same command tries these cells again.

    Attributes:
        records: those of the runs that are done, in the order of the grid.
        failures: why each of the others failed, by its settings.
    """

    def __init__(
        self,
        message: str,
        *,
        records: "Sequence[Record]" = (),
        failures: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.records = list(records)
        self.failures = dict(failures or {})


class RunEnded(_Said):
    """Base class of a run that ended early, without a mistake of anyone.

    Run the same command again to resume. `except AnimaError` does not catch it.
    """


class RunPaused(RunEnded):
    """The run reached the step at which it was to pause; a sweep may resume it.

    Early stopping pauses cells, and resumes those that it promotes.
    """


class RunInterrupted(RunEnded):
    """The user or the scheduler stopped the run, and it has saved a checkpoint.

    Run the same command again to resume.
    """

    def __init__(self, message: str, *, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class PeerLostError(RunEnded):
    """Another process of the same run has died; the message says why if it is known.

    Run the same command again to resume from the last checkpoint.
    """


@contextmanager
def permissions() -> Iterator[None]:
    """Raise a RunError of one line in place of a PermissionError that names a file."""
    try:
        yield
    except PermissionError as error:
        if error.filename is None:
            raise
        raise RunError(
            f"{error.filename} cannot be used: {error.strerror}. Change its permissions or those "
            "of the folders above it, or choose another path."
        ) from error


def with_notes(error: BaseException) -> str:
    """Return the type and the text of an exception, with the notes that were added to it."""
    return "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])


def first_line(error: BaseException) -> str:
    """Return the first line of the text of `error`, or its type's name if it has no text."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
