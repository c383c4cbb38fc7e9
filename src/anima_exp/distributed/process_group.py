"""Join the process group of a run, and leave it when the run ends."""

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

_RENDEZVOUS_TIMEOUT = timedelta(minutes=30)
_COLLECTIVE_TIMEOUT = timedelta(hours=2)  # while one process tokenizes, quantizes or writes for all
_LEAVE_SECONDS = 30.0  # after an error
# The store of each launcher's address, with a counter of its runs. It stays open for processes that
# make several runs: if one closed it, another might already use it for the next run.
_MET: dict[tuple[str | None, ...], tuple[Any, Iterator[int]]] = {}


@contextmanager
def join_process_group(place: RankInfo) -> Iterator[ProcessGroup]:
    """Connect this process to the others inside; yield SINGLE_PROCESS if there are none.

    If several processes raise the same error, the first of them reports it.

    Raises:
        ConfigError: if the processes cannot connect, or this one has no GPU of its own.
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
            timeout=_COLLECTIVE_TIMEOUT,
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
            error.reported = error.reported or not _reports_first(store, error)
        _leave_after_error()
        raise
    distributed.destroy_process_group()


def _leave_after_error() -> None:
    """Close the connection to the other processes, which may have died.

    NCCL can wait forever for a process that has died. So this waits for a limited time only, and
    the process then ends with an open connection, because the user needs its error.
    """
    from torch import distributed

    def close() -> None:
        with suppress(Exception):  # the earlier error is the one to show
            distributed.destroy_process_group()

    closing = threading.Thread(target=close, name="leave", daemon=True)
    closing.start()
    closing.join(_LEAVE_SECONDS)


def _meet() -> Any:
    """Return a store for this run alone, even if the same processes make several runs."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    address = tuple(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    if address not in _MET:
        _MET[address] = next(rendezvous("env://", timeout=_RENDEZVOUS_TIMEOUT))[0], count()
    store, runs = _MET[address]
    return PrefixStore(f"run-{next(runs)}", store)


@contextmanager
def _launcher_hidden() -> Iterator[None]:
    """Make libraries treat this process as the only one inside; see environment.py."""
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
    """Raise ConfigError unless each process has its own GPU and the GPUs can communicate."""
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


def _reports_first(store: Any, error: AnimaError | RunEnded) -> bool:
    """Return whether this process reports the error.

    The first process with an error reports it. A lost peer is reported only if no process has
    given the cause.
    """
    digest = hashlib.sha256(str(error).encode()).hexdigest()
    try:
        if isinstance(error, PeerLostError):
            return not store.check(["why"]) and store.add("lost", 1) == 1
        store.set("why", "reported")
        return bool(store.add(f"reported-{digest}", 1) == 1)
    except RuntimeError:  # the process with the store has died: report twice rather than never
        return True
