"""Describe this machine's GPUs and processor without torch, and configure memory allocators.

torch takes seconds to import, and a process that has used CUDA cannot fork jobs that use it.
"""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anima_exp.errors import ModelError

_DEVICES = ("/dev/nvidia0", "/dev/kfd")  # of GPUs that nvidia-smi may not list
_QUERY = "uuid,name,memory.total,compute_cap"
_FIRST_WITH_BF16 = 8.0  # compute capability: Ampere


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it."""

    uuid: str
    name: str
    memory_gib: float
    capability: float | None  # compute capability; None with an old driver


def gpus() -> list[Gpu] | None:
    """Return the GPUs that this process may use; None if there are some that cannot be listed.

    A torch that is built only for CPUs uses none.
    """
    if _torch_for_cpu():
        return []
    known = _listed()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not known:
        hidden = wanted is not None and not wanted.strip(" -1")
        return None if any(map(os.path.exists, _DEVICES)) and not hidden else []
    if wanted is None:
        return list(known)
    found: list[Gpu] = []
    for device in (text.strip() for text in wanted.split(",")):
        alike = [gpu for gpu in known if device and gpu.uuid.startswith(device)]
        if device.isdigit() and int(device) < len(known):
            found.append(known[int(device)])
        elif len(alike) == 1:
            found += alike
        elif device.startswith("MIG-"):
            return None
        else:
            break  # as in CUDA, where -1 or an unknown device ends the list
    return found


@cache
def _listed() -> tuple[Gpu, ...]:
    for fields in (_QUERY, _QUERY.rpartition(",")[0]):
        try:
            listed = subprocess.run(
                ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ()
        if listed.returncode == 0:
            return tuple(gpu for line in listed.stdout.splitlines() if (gpu := _gpu(line)))
    return ()


def _gpu(line: str) -> Gpu | None:
    uuid, name, memory, *rest = [text.strip() for text in line.split(",")] + [""] * 3
    if not uuid.startswith("GPU-"):
        return None
    return Gpu(uuid, name, (_number(memory) or 0.0) / 1024, _number(rest[0]))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@cache
def _torch_for_cpu() -> bool:
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


def check_precision(precision: str) -> None:
    """Raise ModelError if this machine is known not to support `precision`."""
    listed = gpus()
    if listed is None:
        return
    if not listed:
        refuse_precision(precision, gpu=None, bf16=True)
        return
    first = listed[0]
    bf16 = first.capability is None or first.capability >= _FIRST_WITH_BF16
    refuse_precision(precision, gpu=first.name, bf16=bf16)


def refuse_precision(precision: str, *, gpu: str | None, bf16: bool) -> None:
    """Raise ModelError if the device does not support `precision`.

    Args:
        gpu: the name of the GPU; None for a CPU.
        bf16: whether the GPU has bf16 instructions.
    """
    if gpu is None and precision == "fp16":
        raise ModelError("trainer.precision=fp16 needs a GPU. On a CPU use fp32 or bf16.")
    if gpu is not None and precision == "bf16" and not bf16:
        raise ModelError(
            f"trainer.precision=bf16 does not work on {gpu}, which has no bf16 instructions. "
            "Use trainer.precision=fp32, or fp16, with which some runs diverge."
        )


def cpu() -> str:
    """Return the processor's name, or its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


# Expandable segments of torch's CUDA allocator. Batches of text differ in length, so a segment of a
# fixed size that fitted one tensor rarely fits the next. Up to a sixth of the memory that grows
# with the tokens is then lost to fragmentation. With expandable segments it is a fiftieth.
_SETTING = "PYTORCH_ALLOC_CONF"
# Its name before torch 2.10. torch 2.9 reads expandable segments only from this name, and warns
# that it is old unless the new name is set too.
_OLD_SETTING = "PYTORCH_CUDA_ALLOC_CONF"
VARIABLES = (_SETTING, _OLD_SETTING)
_EXPANDABLE = "expandable_segments:True"
_FIRST_WITH_NEW_NAME = (2, 10)
_KERNEL = Path("/proc/sys/kernel/osrelease")
# On WSL and on NVIDIA's Jetson computers the driver does not support expandable segments.
_REFUSING_KERNELS = ("microsoft", "tegra")
# A virtual GPU such as `NVIDIA A40-48Q`, whose driver may not support them.
_SHARED_GPU = re.compile(r"^GRID |-\d+[ABCQ]$")

_in_force = False  # stays true if the variables are removed after CUDA has started


def use_expandable_segments() -> None:
    """Let torch's CUDA allocator use expandable segments, unless the user has configured it.

    Call this before CUDA starts in this process. Later it would have no effect, so nothing is set.
    """
    global _in_force
    if any(name in os.environ for name in VARIABLES) or _cuda_started() or not works_here():
        return
    os.environ[_SETTING] = _EXPANDABLE
    if _torch() < _FIRST_WITH_NEW_NAME:
        os.environ[_OLD_SETTING] = _EXPANDABLE
    _in_force = True


def expandable() -> bool:
    """Return whether the allocator of this process uses expandable segments."""
    given = [text for name in VARIABLES if (text := os.environ.get(name)) is not None]
    settings = ",".join(given).replace(" ", "").split(",")
    return _EXPANDABLE in settings or (_in_force and not given)


def works_here() -> bool:
    """Return whether this machine's driver and torch seem to support expandable segments."""
    if not sys.platform.startswith("linux") or not _torch_for_cuda():
        return False
    try:
        kernel = _KERNEL.read_text(encoding="utf-8").lower()
    except OSError:
        kernel = ""
    if any(name in kernel for name in _REFUSING_KERNELS):
        return False
    return not any(_SHARED_GPU.search(gpu.name) for gpu in gpus() or ())


def _cuda_started() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _torch_for_cuda() -> bool:
    try:
        return not re.search(r"\+(cpu|rocm|xpu)", version("torch"))
    except PackageNotFoundError:
        return False


def _torch() -> tuple[int, ...]:
    """Return the first two numbers of the version of torch."""
    return tuple(int(number) for number in re.findall(r"\d+", version("torch"))[:2])


def cores() -> int:
    """Return how many processor cores this process may use; a cluster may grant only some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_are_chosen(environment: Mapping[str, str]) -> bool:
    """Return whether the user has set how many threads torch uses, which is then not changed."""
    return any(environment.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))


# CPU memory that glibc's malloc and torch keep for the next step.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_NEVER = 2**30
KEPT_KERNELS = 64  # in each of two caches
KERNEL_BYTES = 900_000  # measured, of matrices from 512 to 2816 wide


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory instead of returning it to the operating system.

    Every training step asks for the same sizes again. Fresh pages for each large tensor would cost
    a tenth of a step on a CPU. Call this before the first tensor is created. On other systems and
    with other allocators nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _NEVER)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def bound_kernel_caches() -> None:
    """Limit how many compiled kernels torch keeps for bf16 matrix products on a CPU.

    torch compiles one for each shape, and batches of text rarely have the same shape twice. By
    default two caches keep 1024 kernels each, and 30 batches took four times the memory of one.
    With KEPT_KERNELS they took a tenth more, in the same time. The user's own setting is kept.

    Call this before the first product. Later it has no effect.
    """
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(KEPT_KERNELS))
    if "DNNL_PRIMITIVE_CACHE_CAPACITY" not in os.environ:  # the same setting's older name
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT_KERNELS))
