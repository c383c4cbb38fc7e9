"""A process's place -> its World: the connection to the others, for as long as the run lasts."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from anima_exp.errors import AnimaError, ConfigError
from anima_exp.parallel.place import Place, take_gpu
from anima_exp.parallel.world import ALONE, World

_TO_MEET = timedelta(minutes=30)
_TO_WAIT = timedelta(hours=2)  # while one process tokenises, quantises or writes for all
# With these gone, the libraries below take the process for one that is alone with its GPU.
_OF_THE_LAUNCHER = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK",
    "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE",
)  # fmt: skip


@contextmanager
def joined(place: Place) -> Iterator[World]:
    """Meet the other processes; ALONE where there are none.

    A mistake that several processes make alike is told by the first of them.

    Raises:
        ConfigError: they do not meet, or there is no GPU for this one.
    """
    if place.size == 1:
        yield ALONE
        return
    take_gpu(place)
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    gpu = torch.cuda.is_available()
    if not gpu and any(os.path.exists(device) for device in ("/dev/nvidia0", "/dev/kfd")):
        raise ConfigError(
            f"Process {place.rank} of {place.size} finds no GPU of its own "
            f"(CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']}). Start one process a GPU."
        )
    try:
        store, rank, size = next(rendezvous("env://", timeout=_TO_MEET))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=_TO_WAIT,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"Process {place.rank} of {place.size} does not reach the others: "
            f"{str(error).splitlines()[0]} Start all of them with one torchrun command."
        ) from error
    for name in _OF_THE_LAUNCHER:
        os.environ.pop(name, None)
    # transformers warns of a process group that its Trainer knows nothing of, which is meant.
    logging.getLogger("transformers.training_args").setLevel(logging.ERROR)
    try:
        yield World(place.rank, place.size, place.local_rank, place.local_size)
    except AnimaError as error:
        error.told = error.told or not _first_to_tell(store, str(error))
        raise
    finally:
        distributed.destroy_process_group()


def _first_to_tell(store: object, text: str) -> bool:
    key = hashlib.sha256(text.encode()).hexdigest()
    try:
        return bool(store.add(f"told-{key}", 1) == 1)  # type: ignore[attr-defined]
    except RuntimeError:  # it was kept by a process that is gone: better twice than not at all
        return True
