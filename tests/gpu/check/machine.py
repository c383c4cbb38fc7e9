"""Versions, and the most that this GPU and its host can do: the yardstick of all that follows."""

import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from check.rows import Row, Rows
from check.timing import device_seconds, host_seconds, rate

_PACKAGES = (
    "torch", "triton", "transformers", "peft", "bitsandbytes", "accelerate", "liger-kernel", "trl",
)  # fmt: skip


def measure(rows: Rows, work: Path) -> None:
    rows.attempt("versions", {}, _versions)
    rows.attempt("gpu", {}, _gpu)
    rows.attempt("product", {}, _product)
    rows.attempt("copy", {}, _copy)
    rows.attempt("host", {"what": "launch by torch"}, _launch)
    rows.attempt("host", {"what": "launch by Triton"}, _triton_launch)
    rows.attempt("host", {"what": "operation without a kernel"}, _view)


def _versions() -> Row:
    found = {"python": platform.python_version(), "cuda": str(torch.version.cuda)}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes

    import_bitsandbytes()
    from bitsandbytes.cextension import lib

    # In place of a library that it cannot load, it has one that answers every call with an error.
    found["bitsandbytes_library"] = type(lib).__name__
    found["c_compiler"] = shutil.which("gcc") or shutil.which("cc") or "none"
    return {**found, "native": bool(getattr(lib, "compiled_with_cuda", False))}


def _gpu() -> Row:
    free, total = torch.cuda.mem_get_info()
    gpu = torch.cuda.get_device_properties()
    return {
        "name": gpu.name,
        "capability": f"{gpu.major}.{gpu.minor}",
        "multiprocessors": gpu.multi_processor_count,
        "total_gib": round(total / 2**30, 2),
        "free_gib": round(free / 2**30, 2),
        "gpus": torch.cuda.device_count(),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
    }


def _product() -> Row:
    size = 8192
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    flops = rate(2 * size**3, device_seconds(lambda: a @ b))
    return {"what": "bf16, 8192 x 8192 x 8192", "tflops": flops and flops / 1e12}


def _copy() -> Row:
    numbers = min(2**32, torch.cuda.mem_get_info()[0] // 4)
    source = torch.empty(numbers, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    speed = rate(2 * numbers, device_seconds(lambda: target.copy_(source)))
    host = torch.empty(2**26, dtype=torch.uint8, pin_memory=True)
    to_gpu = rate(host.numel(), device_seconds(lambda: target[: 2**26].copy_(host, True)))
    return {
        "terabytes_a_second": speed and speed / 1e12,
        "from_host_gigabytes_a_second": to_gpu and to_gpu / 1e9,
    }


def _launch() -> Row:
    small = torch.zeros(1024, device="cuda")
    return _host(lambda: small.add_(1))


def _triton_launch() -> Row:
    try:
        from check.triton_launch import add_one
    except ImportError as error:
        return {"note": f"Triton is not installed: {error}"}
    small = torch.zeros(1024, device="cuda")
    return _host(lambda: add_one(small))


def _view() -> Row:
    small = torch.zeros(1024, device="cuda")
    return _host(lambda: small.view(32, 32))


def _host(work: Callable[[], Any]) -> Row:
    times = 20_000
    host_seconds(work, 100)
    torch.cuda.synchronize()
    # Every thousand, the queue of the GPU is emptied: a full one would make the host wait.
    seconds = []
    for _ in range(times // 1000):
        seconds.append(host_seconds(work, 1000))
        torch.cuda.synchronize()
    return {"microseconds": sorted(seconds)[len(seconds) // 2] * 1e6}
