"""Let torch's allocator grow its pieces of GPU memory, on machines where that works.

Batches of text differ in length, so that a piece that fitted one tensor rarely fits the next. With
pieces of a fixed size, up to a sixth of what grows with the tokens lies unused between tensors. A
run then needs a smaller token budget, or runs out of memory. Pieces that grow (torch calls them
expandable segments) leave a fiftieth.
"""

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anima_exp import machine

_SETTING = "PYTORCH_ALLOC_CONF"
# Its name before torch 2.10. torch 2.9 takes expandable segments from it alone, and warns that it
# is old unless the new name is set too.
_OLD_SETTING = "PYTORCH_CUDA_ALLOC_CONF"
VARIABLES = (_SETTING, _OLD_SETTING)
_EXPANDABLE = "expandable_segments:True"
_FIRST_WITH_NEW_NAME = (2, 10)
_KERNEL = Path("/proc/sys/kernel/osrelease")
# Windows' Linux and NVIDIA's small computers: the driver refuses the first piece there.
_REFUSING_KERNELS = ("microsoft", "tegra")
# A share of a GPU that a hypervisor divides, whose driver may refuse it: `NVIDIA A40-48Q`.
_SHARED_GPU = re.compile(r"^GRID |-\d+[ABCQ]$")

_in_force = False  # CUDA may have started since, and the variables may be gone


def use_expandable_segments() -> None:
    """Let torch's allocator grow its pieces of memory, unless the user has set how it works.

    Call before CUDA starts in this process. Later it has no effect, so nothing is set.
    """
    global _in_force
    if any(name in os.environ for name in VARIABLES) or _cuda_started() or not works_here():
        return
    os.environ[_SETTING] = _EXPANDABLE
    if _torch() < _FIRST_WITH_NEW_NAME:
        os.environ[_OLD_SETTING] = _EXPANDABLE
    _in_force = True


def expandable() -> bool:
    """Whether the allocator of this process grows its pieces, by our setting or the user's."""
    given = [text for name in VARIABLES if (text := os.environ.get(name)) is not None]
    settings = ",".join(given).replace(" ", "").split(",")
    return _EXPANDABLE in settings or (_in_force and not given)


def works_here() -> bool:
    """Whether this machine's driver and torch can do it, as far as their names tell."""
    if not sys.platform.startswith("linux") or not _torch_for_cuda():
        return False
    try:
        kernel = _KERNEL.read_text(encoding="utf-8").lower()
    except OSError:
        kernel = ""
    if any(name in kernel for name in _REFUSING_KERNELS):
        return False
    return not any(_SHARED_GPU.search(gpu.name) for gpu in machine.gpus() or ())


def _cuda_started() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _torch_for_cuda() -> bool:
    try:
        return not re.search(r"\+(cpu|rocm|xpu)", version("torch"))
    except PackageNotFoundError:
        return False


def _torch() -> tuple[int, ...]:
    """The first two numbers of the version of torch."""
    return tuple(int(number) for number in re.findall(r"\d+", version("torch"))[:2])
