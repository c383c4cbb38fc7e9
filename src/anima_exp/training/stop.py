"""End training after the current step, with a checkpoint, if a stop is requested."""

from types import TracebackType

from anima_exp.distributed.world import ProcessGroup
from anima_exp.events import Stopping, emit
from anima_exp.system.signals import StopRequest, name


class StopAfterStep:
    """Watches for a stop request: `with stop: ...`, and `stop.wanted()` after each step.

    All ranks stop after the same step, even if only one of them received the request. `received`
    is the number of the request as in system/signals.py, or 0.
    """

    def __init__(self, world: ProcessGroup, request: StopRequest) -> None:
        self.world, self.request = world, request
        self.received = 0  # by any rank; all of them know it
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
            self.request.unserved()  # it came after all ranks had agreed to continue

    def wanted(self) -> bool:
        """Return whether any rank received a stop request. All ranks call this together.

        A request that arrives during the call counts at the next one.
        """
        mine = self.request.number
        if mine:
            self._heard(mine)  # it may come from another thread
        self.received = next(filter(None, self.world.all_gather(mine)), 0)
        return bool(self.received)

    def _heard(self, number: int) -> None:
        if self.world.is_main and not self._said:
            self._said = True
            emit(Stopping(name(number)))
