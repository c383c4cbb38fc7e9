"""What a job's process begins with, and how all of them are ended."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from anima_exp.sweeping.cell import WARM_FOR
from anima_exp.sweeping.gpu_leases import Slot


def variables(slot: Slot, *, server: bool) -> dict[str, str]:
    """What a new process must find in its environment, before it imports any module of ours."""
    # Otherwise `torch.cuda.is_available()` would initialise CUDA in the server.
    found = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    if server:
        found[WARM_FOR] = "gpu" if slot.gpu else "cpu"
    if slot.threads is not None:
        found["OMP_NUM_THREADS"] = str(slot.threads)
    return found


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside, processes start with these variables; afterwards all are as they were."""
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
    """Wait until all have saved a checkpoint; who interrupts this ends them at once."""
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
