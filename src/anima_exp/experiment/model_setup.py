"""A config, and what its rows need of memory -> base and adapter where they fit, ready to learn.

Where the base will be is decided before it is loaded where there is a choice
(planner/placement.py):
whole on the device of this process, spread over the GPUs that it sees, or split over several
processes. How a batch is executed follows from the memory that is then left.
"""

import gc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anima_exp.config import Quantization, Recompute, RunConfig, TargetModules
from anima_exp.distributed.world import World
from anima_exp.events import say
from anima_exp.model import kernels, lora_linear
from anima_exp.model.activation_checkpointing import selective_works, set_recompute
from anima_exp.model.adapter import attach, name_base, put_on
from anima_exp.model.architecture_check import try_architecture
from anima_exp.model.base import check_context, device, load_base
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.forward import base_of
from anima_exp.model.fsdp import shard_base
from anima_exp.model.generation import inference
from anima_exp.model.hashed_dropout import TokenKeys
from anima_exp.model.linear_layers import Parameters, count
from anima_exp.planner.execution import Execution, choose
from anima_exp.planner.gpus import MIDDLING, Card, card_named
from anima_exp.planner.memory import Rows
from anima_exp.planner.placement import Placed, place_base
from anima_exp.planner.shape import from_model
from anima_exp.results import provenance
from anima_exp.system import hardware


@dataclass(frozen=True)
class Loaded:
    model: Any
    parameters: Parameters
    dropout: TokenKeys
    execution: Execution


def load_model(config: RunConfig, rows: Rows, world: World, *, cache: Path, longest: int) -> Loaded:
    """The model, with a fresh adapter that is the same in all processes.

    Args:
        rows: the largest share of a batch that one process computes.
        longest: tokens of the longest row, held-out ones included.

    Raises:
        ModelError: it cannot be loaded, does not fit, or cannot read such rows.
    """
    gpu = device().type == "cuda"
    if gpu:
        gc.collect()  # an earlier run of this process is held by cycles, with its GPU memory
    liger = kernels.liger_wanted(config.trainer.liger, gpu=gpu)
    config = replace(config, trainer=replace(config.trainer, liger=liger))
    placed = _placed(config, rows, world, gpu=gpu)
    if placed and placed.execution.sharded:
        execution = placed.execution
        model, parameters = world.one_by_one(lambda: _part(config, cache, longest))
        _try(model, config)
    else:
        device_map = placed.device_map if placed else None
        base = world.in_turn(lambda: _base(config, cache, longest, device_map=device_map))
        if placed and device_map:
            execution = placed.execution
        else:  # whole by now, whatever the memory that is left would suggest
            free = world.least(_free(world, gpu=gpu) + count(base).bytes)
            shape = from_model(base)
            execution = choose(shape, config, rows, available=free, gpu=gpu, card=_card(world, gpu))
        model, parameters = _with_adapter(base, config)
    world.copy_from_first([one for one in model.parameters() if one.requires_grad])
    if execution.keep_dequantized:
        keep_dequantized(model)
    keys = lora_linear.use(model)
    if gpu and config.lora.dropout:
        kernels.say_if_dropout_is_slow()
    if execution.recompute is not Recompute.none:
        set_recompute(model, execution.recompute)
    selective = execution.recompute is Recompute.selective
    if selective and not selective_works(model, config.trainer.precision):
        say(
            f"trainer.recompute=selective does not work with {type(base_of(model)).__name__}, "
            "which changes results in place: trainer.recompute=full is used"
        )
        execution = replace(execution, recompute=Recompute.full)
        set_recompute(model, Recompute.none)
        set_recompute(model, execution.recompute)
    return Loaded(model, parameters, keys, execution)


def _placed(config: RunConfig, rows: Rows, world: World, *, gpu: bool) -> Placed | None:
    """Where the base will be; None where this process has one device, and is alone with it."""
    several = gpu and torch.cuda.device_count() > 1
    if world.size == 1 and not several:
        return None
    return place_base(
        config,
        rows,
        available=world.least(_free(world, gpu=gpu)),
        gpus=provenance.free_memories if several else None,
        processes=world.size,
        gpu=gpu,
        card=_card(world, gpu),
    )


def _card(world: World, gpu: bool) -> Card:
    """The card of this process, or of several the first one's, so that all choose alike."""
    if not gpu:
        return MIDDLING
    known = world.share(lambda: torch.cuda.get_device_name())
    fixed = world.any(not hardware.expandable())
    return replace(card_named(known) or MIDDLING, expandable=not fixed)


def _free(world: World, *, gpu: bool) -> int:
    """Bytes for this process: a GPU is its own, a machine's memory is divided."""
    return provenance.free_memory() // (1 if gpu else world.local_size)


def _base(config: RunConfig, cache: Path, longest: int, **where: Any) -> Any:
    base = load_base(
        config.model,
        config.quant,
        precision=config.trainer.precision,
        trainable=config.lora.target_modules is TargetModules.none,
        cache=cache,
        **where,
    )
    check_context(base, longest)
    return base


def _with_adapter(base: Any, config: RunConfig) -> tuple[Any, Parameters]:
    if config.trainer.liger:
        kernels.use_liger(base)
    if place := config.model.adapter:
        model = put_on(base, place, key="model.adapter", trained_with=config.lora)
    else:
        model = attach(base, config.lora)
    name_base(model, config.model)
    return model, count(model)


def _part(config: RunConfig, cache: Path, longest: int) -> tuple[Any, Parameters]:
    """The adapter, and this process's part of a base that is whole in CPU memory for a moment."""
    base = _base(config, cache, longest, to_be_split=True)
    model, parameters = _with_adapter(base, config)
    shard_base(model)
    return model, parameters


def _try(model: Any, config: RunConfig) -> None:
    # All processes at once, for none has a whole block of its own.
    with inference(model, config.trainer.precision):
        try_architecture(base_of(model), rounds_together=config.quant.type is Quantization.int8)
