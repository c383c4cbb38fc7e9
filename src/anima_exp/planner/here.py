"""Plan a run for the machine that the command runs on: its GPU, or its processor and memory."""

from dataclasses import dataclass, replace

import psutil  # type: ignore[import-untyped]

from anima_exp.config import RunConfig
from anima_exp.planner.execution import Execution, can_shard, choose_execution
from anima_exp.planner.gpus import MIDDLING, Gpu, gpu_named
from anima_exp.planner.lengths import Lengths
from anima_exp.planner.memory import GB, GIB
from anima_exp.planner.placement import choose_spread
from anima_exp.planner.shape import Shape
from anima_exp.planner.speed import OnCard, time_of_step
from anima_exp.system import hardware

# A run and a number of cards -> the ways to use them, each with its speed and memory.


MACHINES = (2, 4, 8)  # cards of one machine


@dataclass(frozen=True)
class Placements:
    """Of using cards of one kind; each may be one that does not fit."""

    copies: OnCard  # every process has a base of its own
    sharded: OnCard | None  # they share one; None where the settings do not allow it
    spread: OnCard  # one process has a part of the base on each card: a device map


def ways(shape: Shape, config: RunConfig, found: Lengths, card: Gpu, cards: int) -> Placements:
    """Of using so many of a kind for one run."""
    free = [card.available] * cards
    how = choose_spread(shape, config, found.largest, available=free, card=card)
    return Placements(
        copies=by_processes(shape, config, found, card, cards, shard=False),
        sharded=by_processes(shape, config, found, card, cards, shard=True)
        if can_shard(config)
        else None,
        spread=_timed(shape, config, found, card, how, cards, processes=1),
    )


def by_processes(
    shape: Shape,
    config: RunConfig,
    found: Lengths,
    card: Gpu,
    cards: int,
    *,
    shard: bool | None = None,
) -> OnCard:
    """One on each card; by default as the run would choose."""
    rows = found.largest.share(config.trainer.batch_size, cards)
    how = choose_execution(
        shape, config, rows, available=card.available, shares=cards, shard=shard, card=card
    )
    return _timed(shape, config, found, card, how, cards, processes=cards)


def fewest(shape: Shape, config: RunConfig, found: Lengths, card: Gpu) -> list[OnCard]:
    """Of cards of a kind that one does not do: as many as it takes, sharded and spread."""
    fitting: dict[str, OnCard] = {}
    for cards in MACHINES:
        several = ways(shape, config, found, card, cards)
        for one in (several.sharded, several.spread):
            if one and one.execution.fits:
                fitting.setdefault(one.execution.placement.value, one)
    return list(fitting.values())


def _timed(
    shape: Shape,
    config: RunConfig,
    found: Lengths,
    card: Gpu,
    how: Execution,
    cards: int,
    *,
    processes: int,
) -> OnCard:
    step = time_of_step(shape, config, found, card, how, processes=processes)
    return OnCard(card, cards, how, step)


_NAME = "this machine"


def what_it_has() -> str:
    """Return the name of this machine's first GPU, or of its processor."""
    gpus = hardware.gpus()
    return gpus[0].name if gpus else hardware.cpu()


def this_machine(shape: Shape, config: RunConfig, found: Lengths) -> OnCard | None:
    """Return how a run would use this machine; None if it has a GPU that nothing describes.

    Its speed is known only for a GPU of the list.
    """
    gpus = hardware.gpus()
    if gpus is None:
        return None
    if not gpus:
        memory = psutil.virtual_memory()
        card = Gpu(_NAME, round(memory.total / GB), memory.total / GIB, 1, 1, 1)
        how = choose_execution(shape, config, found.largest, available=memory.available, gpu=False)
        return OnCard(card, 1, how, None, context_gib=0.0)
    gpu = gpus[0]
    known = gpu_named(gpu.name)
    size = round(gpu.memory_gib * GIB / GB)
    card = replace(
        known or MIDDLING,
        name=_NAME,
        memory_gb=size,
        visible_gib=gpu.memory_gib,
        expandable=hardware.works_here() or hardware.expandable(),
    )
    one = by_processes(shape, config, found, card, 1)
    return one if known else replace(one, step=None)
