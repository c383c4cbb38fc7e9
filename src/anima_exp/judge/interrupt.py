"""A coroutine that SIGTERM ends as Ctrl-C does: its tasks first, in order, then the program."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from anima_exp.signals import in_main_thread


def run(work: Coroutine[Any, Any, None]) -> None:
    """asyncio.run, after which a SIGTERM that came meanwhile is raised again.

    A handler that exits at once, as compose.py's, would do so in the midst of a task, and asyncio
    would print what it was about.
    """
    if not in_main_thread():  # where no handler can be set
        asyncio.run(work)
        return
    terminated: list[int] = []

    async def watched() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int, _: Any) -> None:
            terminated.append(number)
            loop.call_soon_threadsafe(task.cancel)

        signal.signal(signal.SIGTERM, end)
        await work

    before = signal.getsignal(signal.SIGTERM)
    try:
        asyncio.run(watched())
    except asyncio.CancelledError:
        if not terminated:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if terminated:
        signal.raise_signal(terminated[0])
