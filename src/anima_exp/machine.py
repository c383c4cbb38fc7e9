"""Read what this machine can compute with, without torch: its GPUs, and the types they support.

torch takes seconds to import, and a process that has used CUDA cannot fork jobs that use it.
"""

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anima_exp.config import Precision
from anima_exp.errors import ModelError

_DEVICES = ("/dev/nvidia0", "/dev/kfd")  # a GPU that nvidia-smi may not list
_QUERY = "uuid,name,memory.total,compute_cap"
_FIRST_WITH_BF16 = 8.0  # compute capability: Ampere


@dataclass(frozen=True)
class Gpu:
    uuid: str
    name: str
    memory_gib: float
    capability: float | None  # None where an old driver does not say


def gpus() -> list[Gpu] | None:
    """Return the GPUs that this process may use; None if there are some, but nothing lists them.

    torch built for the CPU alone uses none.
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
            break  # as CUDA does: -1, or no such device, ends the list
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


def check_precision(precision: Precision) -> None:
    """Raise ModelError if this machine cannot compute in `precision`, as far as it is known."""
    found = gpus()
    if found is None:
        return
    if not found:
        refuse_precision(precision, gpu=None, bf16=True)
        return
    first = found[0]
    bf16 = first.capability is None or first.capability >= _FIRST_WITH_BF16
    refuse_precision(precision, gpu=first.name, bf16=bf16)


def refuse_precision(precision: Precision, *, gpu: str | None, bf16: bool) -> None:
    """Raise ModelError if the device cannot compute in `precision`.

    Args:
        gpu: its name; None = a CPU.
        bf16: whether the GPU has instructions for it.
    """
    if gpu is None and precision is Precision.fp16:
        raise ModelError("trainer.precision=fp16 needs a GPU. On a CPU use fp32 or bf16.")
    if gpu is not None and precision is Precision.bf16 and not bf16:
        raise ModelError(
            f"trainer.precision=bf16, but {gpu} cannot compute in it. "
            "Use trainer.precision=fp16, and expect some runs to diverge, or fp32."
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
