"""Time work on a GPU by its own clock, and the host's share by the host's."""

import time
from collections.abc import Callable
from typing import Any

import torch

_SLEEP_CYCLES = 20_000_000  # about 10 ms


def device_seconds(work: Callable[[], Any], times: int = 10) -> float:
    """Return the seconds of one call of `work` on the GPU, after two calls to warm up.

    It is 0 on a hollow GPU. Without a GPU it is one call on the host.

    The GPU sleeps while the host starts the calls. Otherwise a kernel that is shorter than its
    launch would get the time of the launch.
    """
    if not torch.cuda.is_available():
        return host_seconds(work, 1)
    work()
    work()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(_SLEEP_CYCLES)
    begin.record()
    for _ in range(times):
        work()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / times / 1e3


def wait() -> None:
    """Wait until the GPU has done all that was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def host_seconds(work: Callable[[], Any], times: int) -> float:
    """Return the seconds that the host needs to start `work` once. The GPU may still compute."""
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times


def rate(amount: float, seconds: float) -> float | None:
    """Return `amount` a second; None where no time was measured."""
    return amount / seconds if seconds > 0 else None


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the distance of `one` from `other` as a share of the length of `other`."""
    a, b = (x.detach().double().cpu() for x in (one, other))
    return float((a - b).norm() / b.norm().clamp_min(1e-30))
