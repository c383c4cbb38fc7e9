"""Plan a run for the machine that the command runs on: its GPU, or its processor and memory."""

from dataclasses import replace

import psutil  # type: ignore[import-untyped]

from anima_exp import gpu_memory, machine
from anima_exp.config import RunConfig
from anima_exp.plan.cards import MIDDLING, Card, card_named
from anima_exp.plan.choose import choose
from anima_exp.plan.lengths import Lengths
from anima_exp.plan.memory import GB, GIB
from anima_exp.plan.several import by_processes
from anima_exp.plan.shape import Shape
from anima_exp.plan.speed import OnCard

_NAME = "this machine"


def what_it_has() -> str:
    """Return the name of this machine's first GPU, or of its processor."""
    gpus = machine.gpus()
    return gpus[0].name if gpus else machine.cpu()


def this_machine(shape: Shape, config: RunConfig, found: Lengths) -> OnCard | None:
    """Return how a run would use this machine; None if it has a GPU that nothing describes.

    Its speed is known only for a GPU of the list.
    """
    gpus = machine.gpus()
    if gpus is None:
        return None
    if not gpus:
        memory = psutil.virtual_memory()
        card = Card(_NAME, round(memory.total / GB), memory.total / GIB, 1, 1, 1)
        how = choose(shape, config, found.largest, available=memory.available, gpu=False)
        return OnCard(card, 1, how, None, context_gib=0.0)
    gpu = gpus[0]
    known = card_named(gpu.name)
    size = round(gpu.memory_gib * GIB / GB)
    card = replace(
        known or MIDDLING,
        name=_NAME,
        memory_gb=size,
        visible_gib=gpu.memory_gib,
        expandable=gpu_memory.works_here() or gpu_memory.expandable(),
    )
    one = by_processes(shape, config, found, card, 1)
    return one if known else replace(one, step=None)
