"""Choose how to execute a batch: the fastest way that fits into free memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Protocol

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.planner.gpus import DEFAULT_GPU, Gpu
from anima_exp.planner.memory import GIB, Memory, MemoryModel, Rows
from anima_exp.planner.shape import Shape
from anima_exp.planner.step_time import StepTime, Work, step_time

# Estimated times that differ by less are treated as equal. The smaller CPU time then wins, because
# it is the least certain part of the estimate.
_ALIKE = 0.02
# Time on a CPU, in forward passes of one token through the same weights. These are assumptions.
# Only their order matters: it decides between settings that all fit. For a GPU see step_time.py.
_DEQUANTISING = 250  # all matrices, for one pass
_STARTING = 50  # one pass, even if it is short
_GATHERING = 400  # the parts of a sharded base model, for one pass
_EXTRA = {
    ActivationCheckpointing.none: 0.0,
    ActivationCheckpointing.selective: 0.1,
    ActivationCheckpointing.full: 1.0,
}
_STEP = 64  # a token budget below the whole batch is a multiple of this


class Placement(StrEnum):
    """Where the base model is."""

    whole = "whole"  # on one GPU; with several processes, a copy on the GPU of each
    sharded = "sharded"  # split over the GPUs of several processes (FSDP)
    spread = "spread"  # its blocks over the GPUs of one process: a device map


@dataclass(frozen=True)
class Execution:
    """How a batch is executed: its speed and memory, not its gradient."""

    token_budget: int  # of each process
    recompute: ActivationCheckpointing
    keep_dequantized: bool
    predicted_peak_gib: float  # of tensors on the device, or on the fullest of several
    fits: bool  # False: not even this fits into the available memory
    paged: bool  # it fits because optimizer states move to CPU memory
    placement: Placement = Placement.whole
    num_gpus: int = 1  # that the base model is sharded or spread over

    @property
    def sharded(self) -> bool:
        return self.placement is Placement.sharded


class Device(Protocol):
    """What executes a batch: one GPU or CPU, or several GPUs with a part of the model each."""

    @property
    def needs(self) -> MemoryModel: ...

    @property
    def available(self) -> float:
        """Bytes that tensors may take on one device."""

    def lacks(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        """Return the bytes that are missing; 0 or less if the execution fits."""

    def peak(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        """Return the peak bytes of tensors on one device."""


@dataclass(frozen=True)
class OneDevice:
    needs: MemoryModel
    available: float

    def lacks(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        found = self.needs.memory(budget, recompute, keep_dequantized=keep)
        return needed(found, self.needs.unused) - self.available - self._away(paged)

    def peak(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        found = self.needs.memory(budget, recompute, keep_dequantized=keep)
        return found.peak - self._away(paged)

    def _away(self, paged: bool) -> int:
        return self.needs.trained.pageable if paged else 0


def choose_execution(
    shape: Shape,
    config: RunConfig,
    rows: Rows,
    *,
    available: float,
    gpu: bool = True,
    shares: int = 1,
    shard: bool | None = None,
    gpu_type: Gpu = DEFAULT_GPU,
) -> Execution:
    """Return the fastest execution that fits and keeps every setting that the user has set.

    If nothing fits, return the one that needs least memory, with `fits=False`.

    Args:
        rows: of the training data; with several processes, the largest part of one process.
        available: bytes of the device that tensors may take, the model's included. Several
            processes must all pass the minimum over them, or they choose differently.
        gpu: whether the device is a GPU. Only there a paged optimizer can move its states
            elsewhere, and attention is one kernel.
        shares: the number of processes, with one device each.
        shard: whether to shard the base model over them. None: as trainer.fsdp says, otherwise
            only if nothing else fits.
        gpu_type: whose speed decides, if `gpu`; its nominal memory does not matter.
    """
    shard = config.trainer.fsdp if shard is None else shard
    needs = MemoryModel(shape, config, rows, gpu, gpu_type.expandable)
    whole = fastest(OneDevice(needs, available), config, gpu_type=gpu_type)
    if shares == 1 or shard is False or not can_shard(config):
        return whole
    if shard is None and whole.fits:
        return whole
    split = OneDevice(replace(needs, shards=shares), available)
    found = fastest(split, config, gpu_type=gpu_type, placement=Placement.sharded, num_gpus=shares)
    return found if shard or found.fits else whole


def can_shard(config: RunConfig) -> bool:
    """Return whether the settings allow sharding: the base is frozen and no full copy is kept."""
    full = config.lora.is_full_finetune
    return not full and not config.quant.cache_dequantized


def fastest(
    device: Device,
    config: RunConfig,
    *,
    gpu_type: Gpu = DEFAULT_GPU,
    placement: Placement = Placement.whole,
    num_gpus: int = 1,
) -> Execution:
    """Return the fastest execution that fits, or with `fits=False` the one that needs least."""
    needs, rows = device.needs, device.needs.rows
    pageable = needs.gpu and needs.trained.pageable > 0
    for paged in (False, True) if pageable else (False,):
        fitting = [
            (time_of_batch(needs, budget, recompute, keep, gpu_type), budget, recompute, keep)
            for recompute, keep in _ways(config, placement)
            if (budget := _largest(device, recompute, keep, paged)) is not None
        ]
        if fitting:
            least = min(time.total for time, *_ in fitting)
            alike = [way for way in fitting if way[0].total <= least * (1 + _ALIKE)]
            _, budget, recompute, keep = min(alike if needs.gpu else fitting, key=_preferred)
            peak = device.peak(budget, recompute, keep, paged=False)
            gib = min(peak, device.available) / GIB
            chosen = config.trainer.max_tokens_per_micro_batch or budget
            return Execution(chosen, recompute, keep, gib, True, paged, placement, num_gpus)
    budget = max(config.trainer.max_tokens_per_micro_batch or 0, rows.longest)
    recompute = config.trainer.activation_checkpointing or ActivationCheckpointing.full
    keep = bool(config.quant.cache_dequantized) and placement is not Placement.sharded
    peak = device.peak(budget, recompute, keep, paged=pageable)
    chosen = config.trainer.max_tokens_per_micro_batch or budget
    return Execution(chosen, recompute, keep, peak / GIB, False, pageable, placement, num_gpus)


def needed(memory: Memory, unused: float) -> float:
    """Return the bytes that a device must have free; for `unused` see MemoryModel.unused."""
    return memory.peak + unused * memory.dynamic


def _preferred(
    way: tuple[StepTime, int, ActivationCheckpointing, bool],
) -> tuple[float, float, int]:
    step, budget, *_ = way
    return step.host, step.total, -budget


def _ways(
    config: RunConfig, placement: Placement
) -> Iterator[tuple[ActivationCheckpointing, bool]]:
    """Yield the candidates: least checkpointing first, with a dequantized copy before without."""
    given, kept = config.trainer.activation_checkpointing, config.quant.cache_dequantized
    copied = config.quant.is_4bit and placement is not Placement.sharded
    for recompute in [given] if given else list(ActivationCheckpointing):
        for keep in [True, False] if kept is None else [kept]:
            if copied or not keep:
                yield recompute, keep


def _largest(
    device: Device, recompute: ActivationCheckpointing, keep: bool, paged: bool
) -> int | None:
    """Return the largest token budget that fits; None if not even the longest row does."""

    def fits(budget: int) -> bool:
        return device.lacks(budget, recompute, keep, paged=paged) <= 0

    given, rows = device.needs.config.trainer.max_tokens_per_micro_batch, device.needs.rows
    least, most = rows.longest, max(rows.longest, rows.batch_tokens)
    if given:  # a longer row is a micro-batch alone, and a micro-batch is at most the whole batch
        least = most = min(max(given, least), most)
    if fits(most):
        return most
    if not fits(least):
        return None
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return max(least // _STEP * _STEP, rows.longest)


def time_of_batch(
    needs: MemoryModel,
    budget: int,
    recompute: ActivationCheckpointing,
    keep: bool,
    gpu_type: Gpu = DEFAULT_GPU,
) -> StepTime:
    """Estimate the time of the largest batch: on a GPU in seconds, on a CPU in relative units."""
    rows = needs.rows
    tokens = max(rows.batch_tokens, rows.longest)
    if not needs.gpu:
        time = _time_on_cpu(needs, tokens, budget, recompute, keep)
        return StepTime(device=time, host=0.0, end=0.0)
    work = Work(tokens, tokens / needs.config.trainer.batch_size, rows.batch_labels / tokens)
    return step_time(
        needs.shape,
        needs.config,
        work,
        gpu_type,
        token_budget=budget,
        recompute=recompute,
        keep_dequantized=keep,
        sharded=needs.shards > 1,
        processes=needs.shards,
    )


def _time_on_cpu(
    needs: MemoryModel, tokens: int, budget: int, recompute: ActivationCheckpointing, keep: bool
) -> float:
    """Estimate the time in forward passes of one token."""
    # Each pass reads the weights.
    passes = 3 if recompute is ActivationCheckpointing.full else 2
    reading = _DEQUANTISING if needs.config.quant.is_4bit and not keep else 0
    passes *= ceil(tokens / budget)
    gathering = _GATHERING if needs.shards > 1 else 0
    return tokens * (2 + _EXTRA[recompute]) + passes * (reading + gathering + _STARTING)
