"""A signal or a given step -> a checkpoint and a clean end; a second signal ends at once.

The signals are Ctrl-C and SIGTERM, and those of signals.py.
"""

import signal
import sys
from types import FrameType, TracebackType
from typing import Any

from transformers import TrainerCallback

from anima_exp.parallel.world import World
from anima_exp.signals import FROM_CLUSTER


class StopOnSignal(TrainerCallback):
    """`with stop: trainer.train()`; afterwards `stop.received` is the signal, or None.

    Of several processes all stop after the same step, whichever was told to.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        asked = [n for n in FROM_CLUSTER if callable(signal.getsignal(n))]
        for number in (signal.SIGINT, signal.SIGTERM, *asked):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            sys.exit(128 + number)
        self.received = signal.Signals(number)
        if self.world.leads:
            print(
                f"\n{self.received.name}: saving a checkpoint after this step; "
                "once more ends at once.",
                file=sys.stderr,
                flush=True,
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        number = max(self.world.of_each(self.received or 0))
        self.received = signal.Signals(number) if number else None
        if self.received is not None and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True


class PauseAt(TrainerCallback):
    """Ends training after step `until`, so that a sweep can decide whether it is worth going on."""

    def __init__(self, until: int | None) -> None:
        self.until = until

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.until is not None and self.until <= state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True
