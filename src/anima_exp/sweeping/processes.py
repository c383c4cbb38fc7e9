"""Set the environment of job processes, and end all of them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from anima_exp.sweeping.cell import WARM_FOR
from anima_exp.sweeping.gpu_leases import Slot


def variables(slot: Slot, *, server: bool) -> dict[str, str]:
    """Return the environment variables that a new process needs before its first import."""
    # Without it `torch.cuda.is_available()` would initialize CUDA in the fork server.
    found = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    if server:
        found[WARM_FOR] = "gpu" if slot.gpu else "cpu"
    if slot.threads is not None:
        found["OMP_NUM_THREADS"] = str(slot.threads)
    return found


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that start inside, then restore them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end(processes: Sequence[BaseProcess]) -> None:
    """Ask all processes to save a checkpoint and wait for them; Ctrl-C kills them."""
    for process in processes:
        process.terminate()
    try:
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
            process.join()
        raise
