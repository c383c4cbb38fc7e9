"""How a process uses the memory of a CPU: what malloc and torch keep for the next step."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_NEVER = 2**30
KEPT_KERNELS = 64  # in each of two caches
KERNEL_BYTES = 900_000  # measured, of matrices from 512 to 2816 wide


def keep_freed_memory() -> None:
    """Make glibc's malloc keep what is freed, for a training step asks for the same sizes again.

    On Linux, where each large tensor else begins as fresh pages: a tenth of a step on a CPU.

    Call before the first tensor. Elsewhere, and with another allocator, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _NEVER)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def bound_kernel_caches() -> None:
    """Let torch keep few of the kernels that it compiles on a CPU for products in bf16.

    It compiles one for each shape, and batches of text rarely have the same shape twice. Two
    caches keep 1024 kernels each, so that 30 batches took four times the memory of one. With
    KEPT_KERNELS they took a tenth more, in the same time. What the user has set is left alone.

    Call before the first product. Later it has no effect.
    """
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(KEPT_KERNELS))
    if "DNNL_PRIMITIVE_CACHE_CAPACITY" not in os.environ:  # the same setting's older name
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KEPT_KERNELS))
