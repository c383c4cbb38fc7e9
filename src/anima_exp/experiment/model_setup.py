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

from anima_exp.config import ActivationCheckpointing, Quantization, RunConfig
from anima_exp.distributed.world import ProcessGroup
from anima_exp.events import say
from anima_exp.model import kernels, lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing, selective_works
from anima_exp.model.adapter import add_lora, load_adapter, record_base_model
from anima_exp.model.architecture_check import probe_architecture
from anima_exp.model.base import check_context, device, load_base
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.forward import base_of
from anima_exp.model.fsdp import shard_base
from anima_exp.model.generation import inference_mode
from anima_exp.model.hashed_dropout import DropoutKeys
from anima_exp.model.linear_layers import Parameters, count
from anima_exp.planner.execution import Execution, choose_execution
from anima_exp.planner.gpus import DEFAULT_GPU, Gpu, gpu_named
from anima_exp.planner.memory import Rows
from anima_exp.planner.placement import PlacementDecision, place_base
from anima_exp.planner.shape import from_model
from anima_exp.results import provenance
from anima_exp.system import hardware


@dataclass(frozen=True)
class Loaded:
    model: Any
    parameters: Parameters
    dropout: DropoutKeys
    execution: Execution


def load_model(
    config: RunConfig, rows: Rows, world: ProcessGroup, *, cache: Path, longest: int
) -> Loaded:
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
        model, parameters = world.one_rank_at_a_time(lambda: _part(config, cache, longest))
        _try(model, config)
    else:
        device_map = placed.device_map if placed else None
        base = world.main_process_first(
            lambda: _base(config, cache, longest, device_map=device_map)
        )
        if placed and device_map:
            execution = placed.execution
        else:  # whole by now, whatever the memory that is left would suggest
            free = world.all_reduce_min(_free(world, gpu=gpu) + count(base).bytes)
            shape = from_model(base)
            execution = choose_execution(
                shape, config, rows, available=free, gpu=gpu, gpu_type=_gpu_type(world, gpu)
            )
        model, parameters = _with_adapter(base, config)
    world.broadcast_parameters([one for one in model.parameters() if one.requires_grad])
    if execution.keep_dequantized:
        keep_dequantized(model)
    keys = lora_linear.install(model)
    if gpu and config.lora.dropout:
        kernels.say_if_dropout_is_slow()
    if execution.recompute is not ActivationCheckpointing.none:
        apply_activation_checkpointing(model, execution.recompute)
    selective = execution.recompute is ActivationCheckpointing.selective
    if selective and not selective_works(model, config.trainer.precision):
        say(
            "trainer.activation_checkpointing=selective does not work with "
            f"{type(base_of(model)).__name__}, which changes results in place: "
            "trainer.activation_checkpointing=full is used"
        )
        execution = replace(execution, recompute=ActivationCheckpointing.full)
        apply_activation_checkpointing(model, ActivationCheckpointing.none)
        apply_activation_checkpointing(model, execution.recompute)
    return Loaded(model, parameters, keys, execution)


def _placed(
    config: RunConfig, rows: Rows, world: ProcessGroup, *, gpu: bool
) -> PlacementDecision | None:
    """Where the base will be; None where this process has one device, and is alone with it."""
    several = gpu and torch.cuda.device_count() > 1
    if world.size == 1 and not several:
        return None
    return place_base(
        config,
        rows,
        available=world.all_reduce_min(_free(world, gpu=gpu)),
        gpus=provenance.free_memories if several else None,
        processes=world.size,
        gpu=gpu,
        gpu_type=_gpu_type(world, gpu),
    )


def _gpu_type(world: ProcessGroup, gpu: bool) -> Gpu:
    """The card of this process, or of several the first one's, so that all choose alike."""
    if not gpu:
        return DEFAULT_GPU
    known = world.run_on_main(lambda: torch.cuda.get_device_name())
    fixed = world.all_reduce_any(not hardware.expandable())
    return replace(gpu_named(known) or DEFAULT_GPU, expandable=not fixed)


def _free(world: ProcessGroup, *, gpu: bool) -> int:
    """Bytes for this process: a GPU is its own, a machine's memory is divided."""
    return provenance.free_memory() // (1 if gpu else world.local_size)


def _base(config: RunConfig, cache: Path, longest: int, **where: Any) -> Any:
    base = load_base(
        config.model,
        config.quant,
        precision=config.trainer.precision,
        trainable=config.lora.is_full_finetune,
        cache=cache,
        **where,
    )
    check_context(base, longest)
    return base


def _with_adapter(base: Any, config: RunConfig) -> tuple[Any, Parameters]:
    if config.trainer.liger:
        kernels.use_liger(base)
    if place := config.model.adapter:
        model = load_adapter(base, place, key="model.adapter", trained_with=config.lora)
    else:
        model = add_lora(base, config.lora)
    record_base_model(model, config.model)
    return model, count(model)


def _part(config: RunConfig, cache: Path, longest: int) -> tuple[Any, Parameters]:
    """The adapter, and this process's part of a base that is whole in CPU memory for a moment."""
    base = _base(config, cache, longest, to_be_split=True)
    model, parameters = _with_adapter(base, config)
    shard_base(model)
    return model, parameters


def _try(model: Any, config: RunConfig) -> None:
    # All processes at once, for none has a whole block of its own.
    with inference_mode(model, config.trainer.precision):
        probe_architecture(base_of(model), rounds_together=config.quant.type is Quantization.int8)
