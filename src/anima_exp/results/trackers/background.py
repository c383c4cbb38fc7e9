"""Run a tracker in a thread, so that no server can delay the run for longer than a fixed time."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from anima_exp.results.trackers.base import Pairs, Row, RunTracker

LAST_CONTACT_SECONDS = 60.0  # for everything that is still to be sent at the end


class InBackground:
    """A tracker whose methods return at once, apart from `finish`, which waits for a limited time.

    An error in the thread is raised by the next call.
    """

    live = True

    def __init__(self, inner: RunTracker) -> None:
        self._inner = inner
        self.label = inner.label
        self._later: str | None = None
        self._calls: deque[list[Row] | Callable[[], None] | None] = deque()
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name=inner.label)

    @property
    def note(self) -> str | None:
        return self._later or self._inner.note

    def start(self) -> None:
        self._thread.start()
        self._add(self._inner.start)

    def resume(self, rows: Sequence[Row], generations: Sequence[tuple[int, Pairs]]) -> None:
        self._add(partial(self._inner.resume, rows, generations))

    def log(self, rows: Sequence[Row]) -> None:
        self._add(list(rows))

    def log_generations(self, step: int, pairs: Pairs) -> None:
        self._add(partial(self._inner.log_generations, step, pairs))

    def finish(self, scores: Mapping[str, float] | None, *, failed: bool) -> None:
        self._add(partial(self._inner.finish, scores, failed=failed))
        self._add(None)
        self._thread.join(LAST_CONTACT_SECONDS)
        self._raise()
        if self._thread.is_alive():
            self._later = (
                f"{self.label} did not accept everything within {LAST_CONTACT_SECONDS:g} s. "
                "metrics.jsonl has every value."
            )

    def _add(self, call: list[Row] | Callable[[], None] | None) -> None:
        self._raise()
        with self._changed:
            self._calls.append(call)
            self._changed.notify()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _next(self) -> list[Row] | Callable[[], None] | None:
        """Return the next call. Rows that wait one after the other are sent together."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._calls))
            call = self._calls.popleft()
            if isinstance(call, list):
                while self._calls and isinstance(self._calls[0], list):
                    call = [*call, *self._calls.popleft()]  # type: ignore[misc]
        return call

    def _work(self) -> None:
        try:
            while (call := self._next()) is not None:
                if isinstance(call, list):
                    self._inner.log(call)
                else:
                    call()
        except Exception as error:  # raised by the next call of the main thread
            self._error = error
