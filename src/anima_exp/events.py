"""What a run says while it works: events, and who hears them.

Nothing below a command prints. It emits events, and without a listener they are dropped: a call
from Python is silent. A command listens with the view of display/terminal_view.py.

    def listen(event: Event) -> None:
        if isinstance(event, Logged):
            print(event.row["step"], event.row["loss"])

    run(config, listen=listen)

A listener belongs to a context (contextvars), so two threads do not hear each other. A thread that
is to be heard emits through `emitter()` of the thread that started it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


class Event:
    """Base class. A listener ignores the kinds that it does not know: there will be more."""


@dataclass(frozen=True)
class Said(Event):
    """A line about the run."""

    text: str
    own: bool = False  # true of this process only: heard even if another one speaks for the run


@dataclass(frozen=True)
class Noted(Event):
    """A line that stands next to the output of a command."""

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """A line that the user should act on, or know of a result."""

    text: str


@dataclass(frozen=True)
class Working(Event):
    """A long piece of work has begun, got further by `count`, or ended."""

    kind: Literal["hashing", "tokenising", "merging"]
    text: str
    total: int | None = None  # bytes to hash or write; None if it is unknown
    count: int = 0  # bytes, or examples tokenised, since the event before
    ended: bool = False


@dataclass(frozen=True)
class Plan(Event):
    """What is about to be done, by heading."""

    lines: Mapping[str, str]


@dataclass(frozen=True)
class Began(Event):
    """The steps `first` + 1 to `steps` are about to be trained."""

    steps: int
    first: int = 0


@dataclass(frozen=True)
class Logged(Event):
    """A line of metrics.jsonl about training: step, loss, learning_rate, tokens_per_second, ..."""

    row: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluated(Event):
    """The model was measured after `step` steps."""

    step: int
    scores: Mapping[str, float]
    answers: Sequence[tuple[str, str]] = ()  # to the sample questions
    metrics: Mapping[str, Any] | None = None  # descriptions by score, where it has one of its own


@dataclass(frozen=True)
class Stopping(Event):
    """A stop was requested: a checkpoint follows after this step."""

    by: str


@dataclass(frozen=True)
class Ended(Event):
    """No further step is trained, whether the last one was reached or not."""


@dataclass(frozen=True)
class Answering(Event):
    """So many of `total` questions have an answer in the file."""

    done: int
    total: int
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Measured(Event):
    """What an evaluation of a finished model measured; by benchmark the rows of its accuracies."""

    scores: Mapping[str, float]
    accuracies: Mapping[str, Sequence[Mapping[str, Any]]]
    answers: Sequence[tuple[str, str]]
    subjects: bool = False  # whether each subject of a benchmark is to be shown
    metrics: Mapping[str, Any] | None = None  # descriptions by score


@dataclass(frozen=True)
class AlreadyDone(Event):
    """The run has a record, and nothing was computed."""

    record: Any  # results.record.Record
    folder: Path
    code_differs: str | None = None  # how the code of then differs from this


@dataclass(frozen=True)
class Done(Event):
    """A run has its record."""

    record: Any  # results.record.Record
    trained: Path  # the folder of the adapter, or of the whole model
    before: Sequence[tuple[str, str]] = field(default=())  # questions and answers before training
    after: Sequence[tuple[str, str]] = field(default=())


Listener = Callable[[Event], None]

_listener: ContextVar[Listener | None] = ContextVar("anima_exp_listener", default=None)


def emit(event: Event) -> None:
    """Call this context's listener, if it has one."""
    emitter()(event)


def emitter() -> Listener:
    """Return what calls this context's listener, from any thread."""
    return _listener.get() or _nobody


def heard() -> bool:
    """Return whether anybody listens."""
    return _listener.get() is not None


def say(text: str) -> None:
    """Emit `Said`: the short form of what is emitted most."""
    emit(Said(text))


def say_anyway(text: str) -> None:
    """Emit what is true of this process alone, whichever process speaks for the run."""
    emit(Said(text, own=True))


def note(text: str) -> None:
    emit(Noted(text))


def warn(text: str) -> None:
    emit(Warned(text))


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Inside, `listener` hears every event of this context, and no outer listener hears any.

    With None nothing changes.
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
def following(leads: bool) -> Iterator[None]:
    """Inside, unless this process `leads`, another speaks for the run.

    Then only what is true of this process is heard.
    """
    if leads:
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
    kind: Literal["hashing", "tokenising", "merging"], text: str, total: int | None = None
) -> Iterator[Callable[[int], None]]:
    """Emit that work begins and ends; inside, the function tells how much more is done.

    Any thread may call it.
    """
    tell = emitter()
    tell(Working(kind, text, total))
    try:
        yield lambda count: tell(Working(kind, text, total, count))
    finally:
        tell(Working(kind, text, total, ended=True))


def _nobody(_: Event) -> None:
    """The listener where there is none."""
