"""Print progress lines for slow computations, every few seconds."""

import time
from collections.abc import Callable

from anima_exp.system.terminal import note

Say = Callable[[float, float | None], None]  # amount done, and the total if it is known

FIRST_SECONDS, EVERY_SECONDS = 2.0, 5.0


def quiet(done: float, total: float | None) -> None:
    """Print no progress."""


class Progress:
    """Print lines on stderr: `ratings over random orders: 40 %, 6 s left`."""

    def __init__(self, write: Callable[[str], None] = note) -> None:
        self._write = write

    def stage(self, name: str) -> Say:
        """Return a function that a computation may call as often as it likes."""
        started = time.monotonic()
        due = started + FIRST_SECONDS

        def say(done: float, total: float | None) -> None:
            nonlocal due
            now = time.monotonic()
            if now < due:
                return
            due = now + EVERY_SECONDS
            if total is None:
                self._write(f"{name}: {done:,.0f}")
            elif done < total / 100:  # too early for an estimate
                self._write(f"{name}: {done / total:.0%}")
            else:
                left = (now - started) * (total - done) / done
                self._write(f"{name}: {done / total:.0%}, {left:,.0f} s left")

        return say
