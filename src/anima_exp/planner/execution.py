"""A shape, a config, rows and free memory -> how to execute a batch: as fast as fits."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Protocol

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.planner.gpus import MIDDLING, Gpu
from anima_exp.planner.memory import GIB, Memory, MemoryModel, Rows
from anima_exp.planner.shape import Shape
from anima_exp.planner.step_time import StepTime, Work, step_time

# Estimated times that differ by less say nothing. Then the processor's time decides, as it is the
# least certain part of the estimate.
_ALIKE = 0.02
# Time on a CPU, in forward passes of one token through the same weights. Assumptions; only their
# order matters, which decides between settings that all fit. For a GPU see step_time.py.
_DEQUANTISING = 250  # the matrices of one pass once
_STARTING = 50  # one pass, however short
_GATHERING = 400  # the parts of a sharded base, for one pass
_EXTRA = {
    ActivationCheckpointing.none: 0.0,
    ActivationCheckpointing.selective: 0.1,
    ActivationCheckpointing.full: 1.0,
}
_STEP = 64  # of a token budget that is less than the whole batch


class Placement(StrEnum):
    """Where the base is."""

    whole = "whole"  # on one card; with several processes, a copy on the card of each
    sharded = "sharded"  # split over the cards of several processes (FSDP)
    spread = "spread"  # its blocks over the cards of one process: a device map


@dataclass(frozen=True)
class Execution:
    """How a batch is executed: its speed and memory, not its gradient."""

    token_budget: int  # of each process
    recompute: ActivationCheckpointing
    keep_dequantized: bool
    predicted_peak_gib: float  # of tensors on the device; of several, on the fullest
    fits: bool  # False: even this does not fit the memory that was named
    paged: bool  # it fits because optimizer states move to CPU memory
    placement: Placement = Placement.whole
    cards: int = 1  # that the base is split or spread over

    @property
    def sharded(self) -> bool:
        return self.placement is Placement.sharded


class Device(Protocol):
    """What a batch is executed on: a card, or several that hold a part of the model each."""

    @property
    def needs(self) -> MemoryModel: ...

    @property
    def available(self) -> float:
        """Bytes that tensors may take on one card."""

    def lacks(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        """Bytes; what fits lacks none, or less than none."""

    def peak(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        """Bytes of tensors on one card."""


@dataclass(frozen=True)
class OneCard:
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
    card: Gpu = MIDDLING,
) -> Execution:
    """The fastest way that fits, with every setting that the user gave kept.

    Args:
        rows: of the data that is trained on; with several processes, the largest share of one.
        available: bytes of the device that tensors may take, the model's included. Several
            processes must all give the least that one of them has, or they choose differently.
        gpu: where a paged optimizer can move its states elsewhere, and attention is one kernel.
        shares: processes with a device each.
        shard: the base over them; None = what trainer.fsdp says, else where only that fits.
        card: whose speed decides, if `gpu`; how much memory it is sold with does not matter.

    Where nothing fits, it is the way that needs least, with `fits=False`.
    """
    shard = config.trainer.fsdp if shard is None else shard
    needs = MemoryModel(shape, config, rows, gpu, card.expandable)
    whole = fastest(OneCard(needs, available), config, card=card)
    if shares == 1 or shard is False or not can_shard(config):
        return whole
    if shard is None and whole.fits:
        return whole
    split = OneCard(replace(needs, shards=shares), available)
    found = fastest(split, config, card=card, placement=Placement.sharded, cards=shares)
    return found if shard or found.fits else whole


def can_shard(config: RunConfig) -> bool:
    """Only what is frozen and read as it is stored: a copy of the whole base would be none."""
    full = config.lora.is_full_finetune
    return not full and not config.quant.cache_dequantized


def fastest(
    device: Device,
    config: RunConfig,
    *,
    card: Gpu = MIDDLING,
    placement: Placement = Placement.whole,
    cards: int = 1,
) -> Execution:
    """The fastest way that fits a device, or with `fits=False` the one that needs least."""
    needs, rows = device.needs, device.needs.rows
    pageable = needs.gpu and needs.trained.pageable > 0
    for paged in (False, True) if pageable else (False,):
        fitting = [
            (time_of_batch(needs, budget, recompute, keep, card), budget, recompute, keep)
            for recompute, keep in _ways(config, placement)
            if (budget := _largest(device, recompute, keep, paged)) is not None
        ]
        if fitting:
            least = min(time.total for time, *_ in fitting)
            alike = [way for way in fitting if way[0].total <= least * (1 + _ALIKE)]
            _, budget, recompute, keep = min(alike if needs.gpu else fitting, key=_preferred)
            peak = device.peak(budget, recompute, keep, paged=False)
            found = min(peak, device.available) / GIB
            told = config.trainer.max_tokens_per_micro_batch or budget
            return Execution(told, recompute, keep, found, True, paged, placement, cards)
    budget = max(config.trainer.max_tokens_per_micro_batch or 0, rows.longest)
    recompute = config.trainer.activation_checkpointing or ActivationCheckpointing.full
    keep = bool(config.quant.cache_dequantized) and placement is not Placement.sharded
    peak = device.peak(budget, recompute, keep, paged=pageable)
    told = config.trainer.max_tokens_per_micro_batch or budget
    return Execution(told, recompute, keep, peak / GIB, False, pageable, placement, cards)


def needed(found: Memory, unused: float) -> float:
    """Bytes that a device must have free for it; see Needs.unused."""
    return found.peak + unused * found.passing


def _preferred(
    way: tuple[StepTime, int, ActivationCheckpointing, bool],
) -> tuple[float, float, int]:
    step, budget, *_ = way
    return step.host, step.total, -budget


def _ways(
    config: RunConfig, placement: Placement
) -> Iterator[tuple[ActivationCheckpointing, bool]]:
    """The least recomputation first; with the dequantised copy before without."""
    given, kept = config.trainer.activation_checkpointing, config.quant.cache_dequantized
    copied = config.quant.is_4bit and placement is not Placement.sharded
    for recompute in [given] if given else list(ActivationCheckpointing):
        for keep in [True, False] if kept is None else [kept]:
            if copied or not keep:
                yield recompute, keep


def _largest(
    device: Device, recompute: ActivationCheckpointing, keep: bool, paged: bool
) -> int | None:
    """The largest token budget that fits; None where not even the longest row does."""

    def fits(budget: int) -> bool:
        return device.lacks(budget, recompute, keep, paged=paged) <= 0

    given, rows = device.needs.config.trainer.max_tokens_per_micro_batch, device.needs.rows
    least, most = rows.longest, max(rows.longest, rows.batch_tokens)
    if given:  # a longer row stands alone, and no batch is larger than it is
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
    card: Gpu = MIDDLING,
) -> StepTime:
    """Estimate the time of the largest batch: on a GPU in seconds."""
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
        card,
        token_budget=budget,
        recompute=recompute,
        keep_dequantized=keep,
        sharded=needs.shards > 1,
        processes=needs.shards,
    )


def _time_on_cpu(
    needs: MemoryModel, tokens: int, budget: int, recompute: ActivationCheckpointing, keep: bool
) -> float:
    """In forward passes of one token."""
    passes = (
        3 if recompute is ActivationCheckpointing.full else 2
    )  # of these each reads the weights
    reading = _DEQUANTISING if needs.config.quant.is_4bit and not keep else 0
    passes *= ceil(tokens / budget)
    gathering = _GATHERING if needs.shards > 1 else 0
    return tokens * (2 + _EXTRA[recompute]) + passes * (reading + gathering + _STARTING)
