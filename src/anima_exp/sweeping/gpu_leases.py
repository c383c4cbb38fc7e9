"""Lease the slots in which jobs run: one or more per GPU, or slots of the CPU.

A job leases its slot of a GPU itself, with a file lock that the operating system releases when the
job ends for any reason. So two sweeps on one machine share its GPUs, and a job whose sweep was
killed keeps its GPU until it ends. A job with several GPUs leases all of them or none.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from anima_exp.config import LauncherConfig, RunConfig
from anima_exp.errors import ConfigError
from anima_exp.system.hardware import cores, threads_are_chosen

_DEVICES = ("/dev/nvidia0", "/dev/kfd")


@dataclass(frozen=True)
class Slot:
    name: str
    gpu: str | None  # for CUDA_VISIBLE_DEVICES
    threads: int | None  # CPU threads per process; None if the user's environment sets them

    @property
    def lease(self) -> FileLock | None:
        """The lock that the slot's job holds; None for a CPU slot, which needs none."""
        return FileLock(_leases() / f"{self.name}.lock") if self.gpu else None

    @property
    def free(self) -> bool:
        """Whether no process has leased the slot. The job checks again when it leases it."""
        lease = self.lease
        if lease is None:
            return True
        try:
            with lease.acquire(timeout=0):
                return True
        except Timeout:
            return False


@dataclass(frozen=True)
class Allocation:
    """The slots of one job: one per GPU, or one of the CPU."""

    slots: tuple[Slot, ...]

    @property
    def gpus(self) -> str | None:
        """The value for CUDA_VISIBLE_DEVICES."""
        return ",".join(slot.gpu for slot in self.slots if slot.gpu) or None

    @property
    def threads(self) -> int | None:
        return self.slots[0].threads

    def take(self) -> list[FileLock]:
        """Lock all slots and return the locks, which hold until they are released.

        No job waits for a lock while it holds another, and all jobs lock in the same order. So of
        several jobs that want the same GPUs at the same time, one gets them.

        Raises:
            Timeout: if another process has one of the slots. Then none is held.
        """
        held: list[FileLock] = []
        try:
            for lock in (slot.lease for slot in sorted(self.slots, key=lambda slot: slot.name)):
                if lock is not None:
                    lock.acquire(timeout=0)
                    held.append(lock)
        except Timeout:
            for lock in held:
                lock.release()
            raise
        return held


def free_place(slots: Iterable[Slot], count: int) -> tuple[Allocation | None, list[Slot]]:
    """Return an allocation of the first `count` free slots, or None, and the slots in use."""
    free: list[Slot] = []
    taken: list[Slot] = []
    for slot in slots:
        (free if slot.free else taken).append(slot)
        if len(free) == count:
            return Allocation(tuple(free)), taken
    return None, taken


def check_gpus(config: RunConfig) -> None:
    """Raise ConfigError if cells would use another number of GPUs than they get."""
    wanted, given = config.trainer.num_gpus, config.launcher.gpus_per_job
    if wanted is not None and wanted != given:
        raise ConfigError(
            f"trainer.num_gpus={wanted}, but a run of a sweep gets launcher.gpus_per_job={given}. "
            f"Give launcher.gpus_per_job={wanted} alone: a run uses the GPUs that it gets."
        )


def slots(settings: LauncherConfig) -> list[Slot]:
    """Return all slots of this machine: those of its GPUs, or one per job on a CPU.

    Raises:
        ConfigError: if there are too few GPUs for launcher.jobs, jobs_per_gpu and gpus_per_job.
    """
    devices, each = gpus(), settings.gpus_per_job
    if not devices:
        jobs = settings.jobs or 1
        threads = _threads(jobs * each)
        return [Slot(f"cpu{i}", None, threads) for i in range(jobs)]
    if each > len(devices):
        found = f"{len(devices)} GPU{'s' * (len(devices) > 1)}"
        raise ConfigError(
            f"launcher.gpus_per_job={each}, but this machine has {found}. Lower it, or use a "
            "cluster: hydra/launcher=slurm."
        )
    # The first slot of every GPU comes first, so that jobs use all GPUs before they share one.
    places = [(gpu, place) for place in range(settings.jobs_per_gpu) for gpu in devices]
    most = len(places) // each
    jobs = settings.jobs or most
    if jobs > most and each > 1:
        raise ConfigError(
            f"launcher.jobs={jobs}, but {len(devices)} GPUs with launcher.gpus_per_job={each} "
            f"hold {most} jobs. Lower launcher.jobs or launcher.gpus_per_job."
        )
    if jobs > most:
        raise ConfigError(
            f"launcher.jobs={jobs}, but {len(devices)} GPUs with launcher.jobs_per_gpu="
            f"{settings.jobs_per_gpu} hold {most} jobs. Raise launcher.jobs_per_gpu."
        )
    threads = _threads(jobs * each)
    # Every slot stays in the list, because another sweep may hold the first ones.
    return [Slot(f"{gpu}.{place}".replace("/", "_"), gpu, threads) for gpu, place in places]


def _threads(processes: int) -> int | None:
    """Return the threads per process; None if the user has chosen a number."""
    return None if threads_are_chosen(os.environ) else max(1, cores() // processes)


def slots_of_a_job(settings: LauncherConfig, slots: list[Slot]) -> int:
    """Return how many slots one job takes. On a CPU its processes share one."""
    return settings.gpus_per_job if slots[0].gpu else 1


def gpus() -> list[str]:
    """Return the CUDA devices that this process may use, by unique id if the driver lists them.

    nvidia-smi is queried rather than torch, which takes seconds to import. A process that has
    initialized CUDA also cannot fork jobs that use it.

    Raises:
        ConfigError: if there are GPUs that nvidia-smi does not list.
    """
    known, alike = _listed()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        if not known and any(Path(device).exists() for device in _DEVICES):
            raise ConfigError(
                "This machine has a GPU, but nvidia-smi does not list it, so jobs cannot be "
                "assigned to GPUs. Name the GPUs: CUDA_VISIBLE_DEVICES=0,1 anima-exp train ..."
            )
        return known
    # nvidia-smi counts in the order of the PCI bus, CUDA by speed unless configured otherwise.
    countable = alike or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    found: list[str] = []
    for device in (text.strip() for text in wanted.split(",")):
        whole = [uuid for uuid in known if uuid.startswith(device)] if device else []
        if device.isdigit() and (not known or int(device) < len(known)):
            found.append(known[int(device)] if known and countable else device)
        elif device.startswith(("GPU-", "MIG-")):
            found.append(whole[0] if len(whole) == 1 else device)
        else:
            break  # as CUDA does: -1, or no such device, ends the list
    return found


def _listed() -> tuple[list[str], bool]:
    """Return the GPUs that nvidia-smi lists, and whether they are all of one type."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return [], True
    pairs = [line.partition(",") for line in listed.stdout.splitlines()]
    found = [(uuid.strip(), name.strip()) for uuid, _, name in pairs if uuid.startswith("GPU-")]
    return [uuid for uuid, _ in found], len({name for _, name in found}) <= 1


def _leases() -> Path:
    # In a temporary folder of this machine, because several machines may share a home folder.
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"anima_exp-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
