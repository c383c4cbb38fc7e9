"""A process's place -> its World: the connection to the others, for as long as the run lasts."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any

from anima_exp.distributed.environment import RankInfo, hidden, select_local_gpu, without_launcher
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.errors import AnimaError, ConfigError, PeerLostError, RunEnded, first_line

_TO_MEET = timedelta(minutes=30)
_TO_WAIT = timedelta(hours=2)  # while one process tokenises, quantises or writes for all
_TO_LEAVE_SECONDS = 30.0  # after an error
# Where the processes of a launcher meet, by its address, and how often they have. It is kept, for
# a process that makes several runs: one that closed it could do so as another meets it again.
_MET: dict[tuple[str | None, ...], tuple[Any, Iterator[int]]] = {}


@contextmanager
def join_process_group(place: RankInfo) -> Iterator[ProcessGroup]:
    """Meet the other processes; ALONE where there are none.

    A mistake that several processes make alike is told by the first of them.

    Raises:
        ConfigError: they do not meet, or there is no GPU for this one.
    """
    if place.size == 1:
        with _launcher_hidden():
            yield SINGLE_PROCESS
        return
    select_local_gpu(place)
    import torch
    from torch import distributed

    gpu = torch.cuda.is_available()
    wanted = os.environ["CUDA_VISIBLE_DEVICES"] not in ("", "-1")
    if (
        wanted
        and not gpu
        and any(os.path.exists(device) for device in ("/dev/nvidia0", "/dev/kfd"))
    ):
        raise ConfigError(
            f"Process {place.rank} of {place.size} has no GPU of its own (CUDA_VISIBLE_DEVICES="
            f"{os.environ['CUDA_VISIBLE_DEVICES']}). Start one process per GPU."
        )
    try:
        store = _meet()
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.size,
            timeout=_TO_WAIT,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"Process {place.rank} of {place.size} cannot connect to the others: "
            f"{first_line(error)} Start all processes with one torchrun command."
        ) from error
    world = ProcessGroup(place.rank, place.size, place.local_rank, place.local_size)
    try:
        if gpu:
            _check_gpus(world)
        with _launcher_hidden():
            yield world
    except BaseException as error:
        if isinstance(error, AnimaError | RunEnded):
            error.told = error.told or not _first_to_tell(store, error)
        _leave_after_error()
        raise
    distributed.destroy_process_group()


def _leave_after_error() -> None:
    """Close the connection to the others, who may be gone.

    NCCL can wait for a process that is gone, for ever. So this gives up after a while, and the
    process ends with the connection open: its error is what the user needs.
    """
    from torch import distributed

    def close() -> None:
        with suppress(Exception):  # the error before it is the one to show
            distributed.destroy_process_group()

    closing = threading.Thread(target=close, name="leave", daemon=True)
    closing.start()
    closing.join(_TO_LEAVE_SECONDS)


def _meet() -> Any:
    """Return a store that this run shares with no other run of the same processes."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    address = tuple(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    if address not in _MET:
        _MET[address] = next(rendezvous("env://", timeout=_TO_MEET))[0], count()
    store, runs = _MET[address]
    return PrefixStore(f"run-{next(runs)}", store)


@contextmanager
def _launcher_hidden() -> Iterator[None]:
    """Inside, the libraries take this process for one that is alone; see environment.py."""
    own = {name: os.environ[name] for name in {*os.environ} - {*without_launcher(os.environ)}}
    hidden.update(own)
    for name in own:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(own)
        for name in own:
            del hidden[name]


def _check_gpus(world: ProcessGroup) -> None:
    """Raise ConfigError unless each process has a GPU of its own, and they reach one another."""
    import torch
    from torch import distributed

    own = getattr(torch.cuda.get_device_properties(0), "uuid", None)  # not in every build of torch
    gpus = world.all_gather(str(own or world.rank))
    for rank, gpu in enumerate(gpus):
        if (first := gpus.index(gpu)) < rank:
            raise ConfigError(
                f"Processes {first} and {rank} have the same GPU. Start one process per GPU, and "
                "unset CUDA_VISIBLE_DEVICES or let it list all GPUs."
            )
    try:
        distributed.all_reduce(torch.zeros(1, device="cuda"))
        torch.cuda.synchronize()
    except RuntimeError as error:
        raise ConfigError(
            f"The GPUs of this run cannot communicate: {str(error).splitlines()[-1]} "
            "Set NCCL_DEBUG=INFO for details."
        ) from error


def _first_to_tell(store: Any, error: AnimaError | RunEnded) -> bool:
    """Of a mistake that several make alike; of lost contact only where nobody says why."""
    digest = hashlib.sha256(str(error).encode()).hexdigest()
    try:
        if isinstance(error, PeerLostError):
            return not store.check(["why"]) and store.add("lost", 1) == 1
        store.set("why", "told")
        return bool(store.add(f"told-{digest}", 1) == 1)
    except RuntimeError:  # it was kept by a process that is gone: better twice than not at all
        return True
