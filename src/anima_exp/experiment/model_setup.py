"""Load the base model, attach an adapter, and choose how batches are executed.

The base model can be on one device, be spread over all GPUs of this process (`model.device_map`),
or be sharded over several processes (`trainer.fsdp`). If there is a choice, planner/placement.py
makes it before any weight is read. How a batch is executed depends on the memory that is then left.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anima_exp.config import (
    ActivationCheckpointing,
    LoraInit,
    LoraVariant,
    Quantization,
    RunConfig,
)
from anima_exp.data.micro_batch import Row
from anima_exp.distributed.world import ProcessGroup
from anima_exp.errors import ModelError
from anima_exp.events import say
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.transformers_internals import can_checkpoint
from anima_exp.model import kernels, lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing, selective_works
from anima_exp.model.adapter import add_lora, load_adapter, record_base_model
from anima_exp.model.architecture_check import probe_architecture
from anima_exp.model.base import check_context, device, load_base
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.eva import ROWS, initialize_from_rows
from anima_exp.model.fsdp import shard_base
from anima_exp.model.generation import inference_mode
from anima_exp.model.hashed_dropout import DropoutKeys
from anima_exp.model.ignored_settings import check_settings
from anima_exp.model.linear_layers import Parameters, count
from anima_exp.model.lora_start import starts
from anima_exp.model.module_kinds import count_by_kind
from anima_exp.planner.execution import Execution, choose_execution
from anima_exp.planner.gpus import DEFAULT_GPU, Gpu, gpu_named
from anima_exp.planner.memory import Rows
from anima_exp.planner.placement import PlacementDecision, place_base
from anima_exp.planner.shape import from_model
from anima_exp.results import provenance
from anima_exp.results.training_report import KindCounts
from anima_exp.system import hardware

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Loaded:
    """The model with its adapter, and how batches are executed."""

    model: "PreTrainedModel | PeftModel"
    parameters: Parameters
    kinds: list[KindCounts]  # of the base, with what the adapter trains
    dropout: DropoutKeys
    execution: Execution


def load_model(
    config: RunConfig,
    rows: Rows,
    world: ProcessGroup,
    *,
    cache: Path,
    longest: int,
    first_rows: Callable[[int], list[Row]] = lambda _: [],
) -> Loaded:
    """Load the model with a fresh adapter, which is the same in all processes.

    Args:
        rows: the largest part of a batch that one process computes.
        longest: the tokens of the longest row, including held-out rows.
        first_rows: returns the first training rows in the order of training, for lora.init=eva.

    Raises:
        ModelError: if the model cannot be loaded, does not fit, or has too short a context.
    """
    gpu = device().type == "cuda"
    if gpu:
        gc.collect()  # reference cycles may keep the GPU memory of an earlier run of this process
    liger = kernels.liger_wanted(config.trainer.liger, gpu=gpu)
    config = replace(config, trainer=replace(config.trainer, liger=liger))
    placed = _choose_placement(config, rows, world, gpu=gpu)
    if placed and placed.execution.sharded:
        execution = placed.execution
        _check_can_be_sharded(config)
        model, parameters, kinds = world.one_rank_at_a_time(
            lambda: _load_shard(config, cache, longest)
        )
        _probe(model, config)
    else:
        device_map = placed.device_map if placed else None
        base = world.main_process_first(
            lambda: _base(config, cache, longest, device_map=device_map)
        )
        if placed and device_map:
            execution = placed.execution
        else:  # the base is on one device, so only the execution is chosen
            free = world.all_reduce_min(_available_memory(world, gpu=gpu) + count(base).bytes)
            shape = from_model(base)
            execution = choose_execution(
                shape,
                _as_supported(config, base),
                rows,
                available=free,
                gpu=gpu,
                gpu_type=_gpu_model(world, gpu),
            )
        model, parameters, kinds = _with_adapter(base, config, first_rows)
    trained = [one for one in model.parameters() if one.requires_grad]
    if config.lora.init is LoraInit.eva:  # whose ranks come from this process's own passes
        sizes = {f"lora.init=eva: weight {n}": [*one.shape] for n, one in enumerate(trained)}
        world.assert_same_on_all_ranks(sizes)
    world.broadcast_parameters([*trained, *starts(model).values()])
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
            f"{type(base_of(model)).__name__}, which modifies tensors in place. The run uses "
            "trainer.activation_checkpointing=full instead."
        )
        execution = replace(execution, recompute=ActivationCheckpointing.full)
        apply_activation_checkpointing(model, ActivationCheckpointing.none)
        apply_activation_checkpointing(model, execution.recompute)
    return Loaded(model, parameters, kinds, keys, execution)


def _as_supported(config: RunConfig, base: "PreTrainedModel") -> RunConfig:
    """Return the settings to choose an execution by: without activation checkpointing for some."""
    trainer = config.trainer
    if can_checkpoint(base) or trainer.activation_checkpointing is not None:
        return config
    say(f"base     {type(base).__name__} has no activation checkpointing in transformers")
    return replace(
        config, trainer=replace(trainer, activation_checkpointing=ActivationCheckpointing.none)
    )


def _choose_placement(
    config: RunConfig, rows: Rows, world: ProcessGroup, *, gpu: bool
) -> PlacementDecision | None:
    """Return where to load the base; None if this is the only process and it has one device."""
    several = gpu and torch.cuda.device_count() > 1
    if world.size == 1 and not several:
        return None
    return place_base(
        config,
        rows,
        available=world.all_reduce_min(_available_memory(world, gpu=gpu)),
        gpus=provenance.free_memories if several else None,
        processes=world.size,
        gpu=gpu,
        gpu_type=_gpu_model(world, gpu),
    )


def _gpu_model(world: ProcessGroup, gpu: bool) -> Gpu:
    """Return the GPU of the main process, so that all processes make the same choice."""
    if not gpu:
        return DEFAULT_GPU
    known = world.run_on_main(lambda: torch.cuda.get_device_name())
    fixed = world.all_reduce_any(not hardware.expandable())
    return replace(gpu_named(known) or DEFAULT_GPU, expandable=not fixed)


def _available_memory(world: ProcessGroup, *, gpu: bool) -> int:
    """Return the bytes for this process: all of its GPU, or its part of the machine's memory."""
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


def _check_can_be_sharded(config: RunConfig) -> None:
    """Raise ModelError if whole matrices of the base are needed, but it does not fit on one GPU."""
    lora = config.lora
    for key, given in (("variant", LoraVariant.dora), ("init", LoraInit.eva)):
        if getattr(lora, key) is given:
            raise ModelError(
                f"lora.{key}={given.value} needs whole matrices of the base, but the base does not "
                f"fit on one GPU and would be sharded. Use another lora.{key}, a smaller base, or "
                "one process with model.device_map=auto."
            )


def _with_adapter(
    base: "PreTrainedModel",
    config: RunConfig,
    first_rows: Callable[[int], list[Row]] = lambda _: [],
) -> tuple[Any, Parameters, list[KindCounts]]:
    def eva(model: "PeftModel") -> None:
        initialize_from_rows(model, first_rows(ROWS), config.trainer.precision)

    if config.trainer.liger:
        kernels.use_liger(base)
    if place := config.model.adapter:
        model = load_adapter(base, place, key="model.adapter", trained_with=config.lora)
    else:
        model = add_lora(base, config.lora, config.model, eva, accept=config.model.accept)
    record_base_model(model, config.model)
    return model, count(model), count_by_kind(model)


def _load_shard(
    config: RunConfig, cache: Path, longest: int
) -> tuple[Any, Parameters, list[KindCounts]]:
    """Load the base into CPU memory, add the adapter, and keep this process's shard of the base."""
    base = _base(config, cache, longest, to_be_split=True)
    model, parameters, kinds = _with_adapter(base, config)
    shard_base(model)
    return model, parameters, kinds


def _probe(model: "PreTrainedModel | PeftModel", config: RunConfig) -> None:
    # In all processes at the same time, because each holds only a shard of every block.
    with inference_mode(model, config.trainer.precision):
        probe_architecture(base_of(model), rounds_together=config.quant.type is Quantization.int8)
        check_settings(base_of(model), config.model.accept)
