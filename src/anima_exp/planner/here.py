"""Plan a run for a number of GPUs of one type, and for the machine that the command runs on."""

from dataclasses import dataclass, replace

import psutil  # type: ignore[import-untyped]

from anima_exp.config import RunConfig
from anima_exp.planner.execution import Execution, can_shard, choose_execution
from anima_exp.planner.gpus import DEFAULT_GPU, Gpu, gpu_named
from anima_exp.planner.lengths import Lengths
from anima_exp.planner.memory import GB, GIB
from anima_exp.planner.placement import choose_spread
from anima_exp.planner.shape import Shape
from anima_exp.planner.speed import OnGpu, time_of_step
from anima_exp.system import hardware

MACHINES = (2, 4, 8)  # numbers of GPUs in one machine


@dataclass(frozen=True)
class Placements:
    """The ways to place a run on several GPUs of one type. Any of them may not fit."""

    copies: OnGpu  # every process has a full copy of the base model
    sharded: OnGpu | None  # the processes share one copy; None if the settings forbid it
    spread: OnGpu  # one process has a part of the base model on each GPU: a device map


def ways(
    shape: Shape, config: RunConfig, lengths: Lengths, gpu_type: Gpu, num_gpus: int
) -> Placements:
    """Return the ways to use `num_gpus` GPUs of one type for one run."""
    free = [gpu_type.available] * num_gpus
    how = choose_spread(shape, config, lengths.largest, available=free, gpu_type=gpu_type)
    return Placements(
        copies=by_processes(shape, config, lengths, gpu_type, num_gpus, shard=False),
        sharded=by_processes(shape, config, lengths, gpu_type, num_gpus, shard=True)
        if can_shard(config)
        else None,
        spread=_timed(shape, config, lengths, gpu_type, how, num_gpus, processes=1),
    )


def by_processes(
    shape: Shape,
    config: RunConfig,
    lengths: Lengths,
    gpu_type: Gpu,
    num_gpus: int,
    *,
    shard: bool | None = None,
) -> OnGpu:
    """Return the execution with one process per GPU.

    Args:
        shard: whether the base model is sharded; None = what the run would choose.
    """
    rows = lengths.largest.share(config.trainer.batch_size, num_gpus)
    how = choose_execution(
        shape,
        config,
        rows,
        available=gpu_type.available,
        shares=num_gpus,
        shard=shard,
        gpu_type=gpu_type,
    )
    return _timed(shape, config, lengths, gpu_type, how, num_gpus, processes=num_gpus)


def fewest(shape: Shape, config: RunConfig, lengths: Lengths, gpu_type: Gpu) -> list[OnGpu]:
    """Return the smallest numbers of GPUs on which the run fits, sharded and with a device map."""
    fitting: dict[str, OnGpu] = {}
    for num_gpus in MACHINES:
        several = ways(shape, config, lengths, gpu_type, num_gpus)
        for one in (several.sharded, several.spread):
            if one and one.execution.fits:
                fitting.setdefault(one.execution.placement.value, one)
    return list(fitting.values())


def _timed(
    shape: Shape,
    config: RunConfig,
    lengths: Lengths,
    gpu_type: Gpu,
    how: Execution,
    num_gpus: int,
    *,
    processes: int,
) -> OnGpu:
    step = time_of_step(shape, config, lengths, gpu_type, how, processes=processes)
    return OnGpu(gpu_type, num_gpus, how, step)


_NAME = "this machine"


def what_it_has() -> str:
    """Return the name of this machine's first GPU, or of its processor."""
    gpus = hardware.gpus()
    return gpus[0].name if gpus else hardware.cpu()


def this_machine(shape: Shape, config: RunConfig, lengths: Lengths) -> OnGpu | None:
    """Return how a run would use this machine; None if its GPU cannot be identified.

    The speed is known only for a GPU of gpus.GPU_TYPES.
    """
    gpus = hardware.gpus()
    if gpus is None:
        return None
    if not gpus:
        memory = psutil.virtual_memory()
        gpu_type = Gpu(_NAME, round(memory.total / GB), memory.total / GIB, 1, 1, 1)
        how = choose_execution(
            shape, config, lengths.largest, available=memory.available, gpu=False
        )
        return OnGpu(gpu_type, 1, how, None, context_gib=0.0)
    gpu = gpus[0]
    known = gpu_named(gpu.name)
    size = round(gpu.memory_gib * GIB / GB)
    gpu_type = replace(
        known or DEFAULT_GPU,
        name=_NAME,
        memory_gb=size,
        visible_gib=gpu.memory_gib,
        expandable=hardware.works_here() or hardware.expandable(),
    )
    one = by_processes(shape, config, lengths, gpu_type, 1)
    return one if known else replace(one, step=None)
