"""Define the events that a run emits while it works, and the listeners that receive them.

Only commands print. Everything below them emits events, which are dropped if nothing listens. So a
call from Python is silent. A command listens with the view of display/terminal_view.py.

    def listen(event: Event) -> None:
        if isinstance(event, Logged):
            print(event.row["step"], event.row["loss"])

    run(config, listen=listen)

A listener belongs to a context (contextvars), so it does not receive the events of other threads.
To be heard, a new thread emits through the `emitter()` of the thread that started it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


class Event:
    """Base class of all events. A listener should ignore the kinds that it does not know."""


@dataclass(frozen=True)
class Said(Event):
    """A line about the run."""

    text: str
    own: bool = False  # concerns this process only, so it is heard even if another one prints


@dataclass(frozen=True)
class Noted(Event):
    """A line for stderr, next to the output of a command."""

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """A warning that the user should act on, or that qualifies a result."""

    text: str


@dataclass(frozen=True)
class Working(Event):
    """A long operation has started, advanced by `count`, or ended."""

    kind: Literal["hashing", "tokenizing", "merging"]
    text: str
    total: int | None = None  # bytes to hash or write; None if it is unknown
    count: int = 0  # bytes, or examples tokenized, since the event before
    ended: bool = False


@dataclass(frozen=True)
class Plan(Event):
    """The next actions of the command, as one line for each heading."""

    lines: Mapping[str, str]


@dataclass(frozen=True)
class Began(Event):
    """Training of the steps `first` + 1 to `steps` begins."""

    steps: int
    first: int = 0


@dataclass(frozen=True)
class Logged(Event):
    """A training line of metrics.jsonl: step, loss, learning_rate, tokens_per_second, ..."""

    row: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluated(Event):
    """The model was evaluated after `step` steps."""

    step: int
    scores: Mapping[str, float]
    answers: Sequence[tuple[str, str]] = ()  # to the sample questions
    metrics: Mapping[str, Any] | None = None  # descriptions of the user's own scores, by name


@dataclass(frozen=True)
class Stopping(Event):
    """A stop was requested. The run saves a checkpoint after this step."""

    by: str


@dataclass(frozen=True)
class Ended(Event):
    """Training has ended, at the last step or before it."""


@dataclass(frozen=True)
class Answering(Event):
    """`done` of `total` questions have an answer in the file."""

    done: int
    total: int
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Measured(Event):
    """The scores of a finished model, and the accuracy rows of each benchmark."""

    scores: Mapping[str, float]
    accuracies: Mapping[str, Sequence[Mapping[str, Any]]]
    answers: Sequence[tuple[str, str]]
    subjects: bool = False  # whether each subject of a benchmark is to be shown
    metrics: Mapping[str, Any] | None = None  # descriptions by score


@dataclass(frozen=True)
class AlreadyDone(Event):
    """The run had a record already, so nothing was computed."""

    record: Any  # results.record.Record
    folder: Path
    code_differs: str | None = None  # how the code that made the record differs from this code


@dataclass(frozen=True)
class Done(Event):
    """A run has finished and saved its record."""

    record: Any  # results.record.Record
    trained: Path  # the folder of the adapter, or of the whole model
    before: Sequence[tuple[str, str]] = field(default=())  # questions and answers before training
    after: Sequence[tuple[str, str]] = field(default=())


Listener = Callable[[Event], None]

_listener: ContextVar[Listener | None] = ContextVar("anima_exp_listener", default=None)


def emit(event: Event) -> None:
    """Pass `event` to this context's listener, if it has one."""
    emitter()(event)


def emitter() -> Listener:
    """Return a function that passes events to this context's listener, from any thread."""
    return _listener.get() or _ignore


def heard() -> bool:
    """Return whether this context has a listener."""
    return _listener.get() is not None


def say(text: str) -> None:
    """Emit a line about the run."""
    emit(Said(text))


def say_anyway(text: str) -> None:
    """Emit a line about this process only, even if another process prints for the run."""
    emit(Said(text, own=True))


def note(text: str) -> None:
    """Emit a line for stderr."""
    emit(Noted(text))


def warn(text: str) -> None:
    """Emit a warning."""
    emit(Warned(text))


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let `listener` receive the events of this context, in place of the outer listener.

    None keeps the outer listener.
    """
    if listener is None:
        yield
        return
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def following(is_main: bool) -> Iterator[None]:
    """Silence this process unless it is the main process of the run.

    Warnings, notes and lines about this process only (`Said.own`) still reach the listener.
    """
    if is_main:
        yield
        return
    outer = emitter()

    def own(event: Event) -> None:
        if isinstance(event, Said) and event.own:
            outer(Warned(event.text))
        elif isinstance(event, Noted | Warned):
            outer(event)

    with listening(own):
        yield


@contextmanager
def working(
    kind: Literal["hashing", "tokenizing", "merging"], text: str, total: int | None = None
) -> Iterator[Callable[[int], None]]:
    """Emit the start and the end of a long operation, and yield a function for its progress.

    The function takes how much more is done. Any thread may call it.
    """
    report = emitter()
    report(Working(kind, text, total))
    try:
        yield lambda count: report(Working(kind, text, total, count))
    finally:
        report(Working(kind, text, total, ended=True))


def _ignore(_: Event) -> None:
    """Drop an event that nothing listens to."""
