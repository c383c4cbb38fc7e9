"""The hollow GPU as Python sees it: the environment of a program that shall use it, and its counts.

A hollow GPU is a CUDA driver and runtime that compute nothing (driver/). The dynamic linker loads
them in place of the real ones, so a program that is to see the GPU starts in `environment(...)`.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
# The runtime comes first, since the other libraries use its functions.
LIBRARIES = ("cudart", "cuda", "cublas", "cublasLt", "nccl", "nvidia-ml")


def environment(
    driver: Path,
    *,
    gpus: int = 1,
    memory_mib: int | None = None,
    context_mib: int | None = None,
    reuse_memory: bool = False,
) -> dict[str, str]:
    """Return the variables of a process that sees `gpus` hollow GPUs, to add to its own.

    Args:
        driver: the folder that build_driver.py wrote.
        memory_mib: memory of a GPU; by default that of an H200.
        context_mib: what a CUDA context takes of it.
        reuse_memory: let torch's allocator keep freed memory, as on a real GPU. Otherwise each
            allocation is all zeros. Reused memory holds stale bytes that no kernel overwrites, and
            our checks of losses and token ids would read them as nan or as tokens out of range.
    """
    libraries = [find_library(driver, name) for name in LIBRARIES]
    found = {
        "LD_PRELOAD": " ".join(map(str, libraries)),
        "TRITON_LIBCUDA_PATH": str(driver),
        "OMP_NUM_THREADS": "1",
        "HOLLOW_GPUS": str(gpus),
        "PATH": os.pathsep.join([str(HERE / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(HERE / "site"), str(REPOSITORY / "src")]),
    }
    if memory_mib is not None:
        found["HOLLOW_MEMORY_MIB"] = str(memory_mib)
    if context_mib is not None:
        found["HOLLOW_CONTEXT_MIB"] = str(context_mib)
    if not reuse_memory:
        found["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    return found


def find_library(driver: Path, name: str) -> Path:
    """Return the driver's library of this name, whatever the version that it ends with."""
    found = sorted(one for one in driver.glob(f"lib{name}.so.*") if one.suffix != ".map")
    if len(found) != 1:
        raise SystemExit(
            f"{driver} holds {len(found)} libraries lib{name}.so.*, and one is needed. "
            "Build the driver: python tests/gpu/hollow/build_driver.py."
        )
    return found[0]


def restart_with(driver: Path, **settings: Any) -> None:
    """Start this script again in the environment of the hollow GPU, unless it runs in it already.

    The dynamic linker reads LD_PRELOAD only when a program starts.
    """
    if "libcudart" in os.environ.get("LD_PRELOAD", ""):
        return
    variables = {**os.environ, **environment(driver.resolve(), **settings)}
    os.execve(sys.executable, [sys.executable, *sys.argv], variables)


class Counter:
    """What the driver counts: launches, waits, copies, the kernels by name."""

    def __init__(self) -> None:
        runtime = next(one for one in os.environ["LD_PRELOAD"].split() if "libcudart" in one)
        self.library = ctypes.CDLL(runtime)
        self.library.hollow_report.restype = ctypes.c_char_p

    def take(self) -> dict[str, Any]:
        """Return the counts since the last call, and begin again at 0."""
        found: dict[str, Any] = json.loads(self.library.hollow_report())
        self.library.hollow_reset()
        return found
