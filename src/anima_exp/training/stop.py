"""A request to stop -> the end of training after this step, with a checkpoint."""

from types import TracebackType

from anima_exp.distributed.world import ProcessGroup
from anima_exp.events import Stopping, emit
from anima_exp.system.signals import StopRequest, name


class StopAfterStep:
    """`with stop: ...`, `stop.wanted()` after each step; `stop.received` is who requested it, or 0.

    All processes of a run stop after the same step, even if only one received the request.
    """

    def __init__(self, world: ProcessGroup, request: StopRequest) -> None:
        self.world, self.request = world, request
        self.received = 0  # as system/signals.py numbers it; by any process, as all of them know
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

    def wanted(self) -> bool:
        """Return whether a stop was requested of any process. All processes call this together.

        What this process hears meanwhile counts at the next call.
        """
        mine = self.request.number
        if mine:
            self._heard(mine)  # of another thread
        self.received = next(filter(None, self.world.all_gather(mine)), 0)
        return bool(self.received)

    def _heard(self, number: int) -> None:
        if self.world.is_main and not self._said:
            self._said = True
            emit(Stopping(name(number)))
