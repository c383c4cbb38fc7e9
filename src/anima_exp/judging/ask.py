"""Make calls concurrently, and hand over each reply as it arrives."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from anima_exp.errors import RunError
from anima_exp.judging.calls import JudgeRequest
from anima_exp.judging.client import Client
from anima_exp.judging.refusal import CallFailed
from anima_exp.judging.verdict import Reply
from anima_exp.system.signals import in_main_thread


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; SIGTERM cancels its tasks in order, and is raised again afterwards.

    A handler that exits at once, as the one of cli/compose.py, would exit in the middle of a task,
    and asyncio would print errors.
    """
    if not in_main_thread():  # where no handler can be set
        asyncio.run(work)
        return
    terminated: list[int] = []

    async def watched() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int, _: object) -> None:
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


# Calls that failed in a row, after all retries, before the server is considered unavailable.
_MAX_FAILURES_IN_A_ROW = 10


def ask(
    calls: Sequence[JudgeRequest],
    client: Client,
    *,
    replied: Callable[[JudgeRequest, Reply], Any],
    failed: Callable[[JudgeRequest, str], Any],
) -> None:
    """Make every call, and report each to `replied` or `failed`.

    Raises:
        ConfigError: if the server rejects a call for a reason that holds for every call.
        RunError: if ten calls in a row failed.
    """
    run(_ask(iter(calls), client, replied, failed))


async def _ask(
    calls: Iterator[JudgeRequest],
    client: Client,
    replied: Callable[[JudgeRequest, Reply], Any],
    failed: Callable[[JudgeRequest, str], Any],
) -> None:
    in_a_row = 0

    async def worker() -> None:
        nonlocal in_a_row
        for call in calls:  # shared: each worker takes the next
            try:
                reply = await client.ask(call)
            except CallFailed as error:
                failed(call, str(error))
                in_a_row += 1
                if in_a_row >= _MAX_FAILURES_IN_A_ROW:
                    raise RunError(
                        f"{in_a_row} calls failed in a row; the last: {error}. The verdicts so far "
                        "are stored. Run the same command again when the server answers."
                    ) from error
            else:
                in_a_row = 0
                replied(call, reply)

    client.open()
    workers = [asyncio.create_task(worker()) for _ in range(client.config.concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await client.close()
