"""A request to stop or a given step -> a checkpoint and a clean end."""

from types import TracebackType
from typing import Any

from anima_exp.events import Stopping, emit
from anima_exp.parallel.world import World
from anima_exp.stop_request import StopRequest, name
from anima_exp.training.libraries import TrainerCallback


class StopAfterStep(TrainerCallback):
    """`with stop: trainer.train()`; afterwards `stop.received` is what requested it, or 0.

    Of several processes all stop after the same step, whichever was requested to.
    """

    def __init__(self, world: World, request: StopRequest) -> None:
        self.world, self.request = world, request
        self.received = 0  # as stop_request.py numbers it; by any process, as all of them know
        self._said = False
        self._watching = request.watch(self._heard)

    def __enter__(self) -> "StopAfterStep":
        self._watching.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watching.__exit__(kind, error, trace)
        if kind is None and not self.received:
            self.request.unserved()  # it came after all had agreed to go on

    def _heard(self, number: int) -> None:
        if self.world.leads and not self._said:
            self._said = True
            emit(Stopping(name(number)))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._agree()
        if self.received and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._agree()  # on what came while a last checkpoint was written

    def _agree(self) -> None:
        # What this process hears meanwhile counts after the next step.
        mine = self.request.number
        if mine:
            self._heard(mine)  # of another thread
        self.received = next(filter(None, self.world.of_each(mine)), 0)


class PauseAt(TrainerCallback):
    """Ends training after step `until`, so that a sweep can decide whether it is worth going on."""

    def __init__(self, until: int | None) -> None:
        self.until = until

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.until is not None and self.until <= state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True
