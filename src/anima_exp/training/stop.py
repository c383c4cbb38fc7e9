"""A signal -> the wish to stop after this step; a second signal ends at once.

The signals are Ctrl-C and SIGTERM, and those of signals.py.
"""

import signal
import sys
import time
from types import FrameType, TracebackType

from anima_exp.parallel.world import World
from anima_exp.signals import FROM_CLUSTER, SAME_WISH_SECONDS, Handlers, give_back, handle
from anima_exp.terminal import note


class StopOnSignal:
    """`with stop: ...`, `stop.wanted()` after each step; `stop.received` is the signal, or None.

    Of several processes all stop after the same step, whichever was told to. In any other thread
    than the main one no signal is handled.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.received: signal.Signals | None = None  # by any process, as all of them know
        self._heard: signal.Signals | None = None  # by this one
        self._heard_at = 0.0
        self._before: Handlers = {}

    def __enter__(self) -> "StopOnSignal":
        asked = [n for n in FROM_CLUSTER if callable(signal.getsignal(n))]
        self._before = handle((signal.SIGINT, signal.SIGTERM, *asked), self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        give_back(self._before)
        if kind is None and self._heard and not self.received:  # after all had agreed to go on
            signal.raise_signal(self._heard)

    def wanted(self) -> bool:
        """Whether any process has received a signal. All processes call this together.

        What this process hears meanwhile counts at the next call.
        """
        if number := max(self.world.of_each(self._heard or 0)):
            self.received = signal.Signals(number)
        return self.received is not None

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._heard is not None:
            if now - self._heard_at > SAME_WISH_SECONDS:
                sys.exit(128 + number)
            return
        self._heard, self._heard_at = signal.Signals(number), now
        if self.world.leads:
            note("")  # below the letters of Ctrl-C
            note(
                f"{self._heard.name}: saving a checkpoint after this step; once more ends at once."
            )
