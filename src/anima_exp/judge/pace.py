"""When the next request may start: evenly apart, and not while the server asks to wait."""

import asyncio
import time


class Pace:
    """Shared by all calls. `per_minute` requests a minute, retries included; None = no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_apart = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next free start, and take it."""
        while (wait := self._next - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._next = time.monotonic() + self._seconds_apart

    def hold(self, seconds: float) -> None:
        """Let nobody start for so long: a server that is too busy for one call is so for all."""
        self._next = max(self._next, time.monotonic() + seconds)
