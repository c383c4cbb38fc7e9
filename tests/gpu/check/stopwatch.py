"""Where the time of a step goes: host and device, passes and optimizer, kernel by kernel."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch.autograd import DeviceType

from check.rows import Row

WARM_UP = 2  # steps


@dataclass
class Watch:
    """Times the parts of a step without waiting for the GPU in its middle."""

    passes: list[Any] = field(default_factory=list)  # (host seconds, first event, last event)
    optimizer: list[Any] = field(default_factory=list)

    def around_passes(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` with a stopwatch."""

        def inside(*arguments: Any, **more: Any) -> Any:
            begun = _Begun()
            found = work(*arguments, **more)
            self.passes.append(begun.end())
            return found

        return inside

    def around_optimizer(self, optimizer: Any) -> None:
        begun: list[_Begun] = []
        optimizer.register_step_pre_hook(lambda *_: begun.append(_Begun()))
        optimizer.register_step_post_hook(lambda *_: self.optimizer.append(begun.pop().end()))

    @staticmethod
    def host(measured: list[Any]) -> float:
        return median(one[0] for one in measured[WARM_UP:])

    @staticmethod
    def device(measured: list[Any]) -> float | None:
        if not torch.cuda.is_available():
            return None
        torch.cuda.synchronize()
        return median(one[1].elapsed_time(one[2]) / 1e3 for one in measured[WARM_UP:])


class _Begun:
    def __init__(self) -> None:
        self.event = _event()
        self.seconds = time.perf_counter()

    def end(self) -> tuple[float, Any, Any]:
        return time.perf_counter() - self.seconds, self.event, _event()


def _event() -> Any:
    """Return a mark in the GPU's queue; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class Profile:
    """The kernels of one step, by torch's profiler."""

    def __init__(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        gpu = torch.cuda.is_available()
        self._profile = profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU])

    def __enter__(self) -> "Profile":
        self._profile.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._profile.__exit__(*error)
        gpu = torch.cuda.is_available()
        kind = DeviceType.CUDA if gpu else DeviceType.CPU
        time_of = "self_device_time_total" if gpu else "self_cpu_time_total"
        # Rows of the host, and marks such as "Optimizer.step", hold the time of kernels again.
        self.kernels = sorted(
            (
                (one.key, getattr(one, time_of), one.count)
                for one in self._profile.key_averages()
                if one.device_type == kind and not getattr(one, "is_user_annotation", False)
            ),
            key=lambda one: -one[1],
        )

    @property
    def seconds(self) -> float:
        return float(sum(one[1] for one in self.kernels)) / 1e6

    @property
    def count(self) -> int:
        return int(sum(one[2] for one in self.kernels))

    def largest(self, many: int) -> list[Row]:
        whole = max(self.seconds, 1e-9)
        return [
            {
                "kernel": name[:90],
                "milliseconds": microseconds / 1e3,
                "count": count,
                "share": microseconds / 1e6 / whole,
            }
            for name, microseconds, count in self.kernels[:many]
        ]
