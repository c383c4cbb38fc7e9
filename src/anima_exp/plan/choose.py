"""A shape, a config, rows and free memory -> how to execute a batch: as fast as fits."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from anima_exp.config import Recompute, RunConfig
from anima_exp.plan.memory import GIB, Memory, Needs, Rows, in_4_bits
from anima_exp.plan.shape import Shape

# Of what grows with the tokens: the allocator cannot use every gap. An assumption.
FRAGMENTED = 0.05
# Time, in forward passes of one token through the same weights. Assumptions, good for a GPU of
# the last years; only their order matters, which decides between settings that all fit.
_DEQUANTISING = 250  # the matrices of one pass once
_LAUNCHING = 50  # one pass, however short
_EXTRA = {Recompute.none: 0.0, Recompute.selective: 0.1, Recompute.full: 1.0}
_STEP = 64  # of a token budget that is less than the whole batch


@dataclass(frozen=True)
class Execution:
    """How a batch is executed: its speed and memory, not its gradient."""

    token_budget: int
    recompute: Recompute
    keep_dequantized: bool
    predicted_peak_gib: float  # of tensors on the device
    fits: bool  # False: even this does not fit the memory that was named
    paged: bool  # it fits because optimizer states move to CPU memory


def choose(
    shape: Shape, config: RunConfig, rows: Rows, *, available: float, gpu: bool = True
) -> Execution:
    """The fastest way that fits, with every setting that the user gave kept.

    Args:
        rows: of the data that is trained on.
        available: bytes of the device that tensors may take, the model's included.
        gpu: where a paged optimizer can move its states elsewhere, and attention is one kernel.

    Where nothing fits, it is the way that needs least, with `fits=False`.
    """
    needs = Needs(shape, config, rows, gpu)
    pageable = needs.trained.pageable if gpu else 0
    for away in dict.fromkeys((0, pageable)):
        fitting = [
            (time_of_batch(needs, budget, recompute, keep), budget, recompute, keep)
            for recompute, keep in _ways(config)
            if (budget := _largest(needs, recompute, keep, available + away)) is not None
        ]
        if fitting:
            _, budget, recompute, keep = min(fitting, key=lambda way: way[0])
            peak = needs.memory(budget, recompute, keep_dequantized=keep).peak
            found = min(peak, available) / GIB
            told = config.trainer.token_budget or budget
            return Execution(told, recompute, keep, found, fits=True, paged=bool(away))
    budget = max(config.trainer.token_budget or 0, rows.longest)
    recompute = config.trainer.recompute or Recompute.full
    keep = bool(config.quant.keep_dequantized)
    peak = needs.memory(budget, recompute, keep_dequantized=keep).peak - pageable
    told = config.trainer.token_budget or budget
    return Execution(told, recompute, keep, peak / GIB, fits=False, paged=bool(pageable))


def needed(found: Memory) -> float:
    """Bytes that a device must have free for it."""
    return found.peak + FRAGMENTED * found.passing


def _ways(config: RunConfig) -> Iterator[tuple[Recompute, bool]]:
    """The least recomputation first; with the dequantised copy before without."""
    given, kept = config.trainer.recompute, config.quant.keep_dequantized
    for recompute in [given] if given else list(Recompute):
        for keep in [True, False] if kept is None else [kept]:
            if in_4_bits(config) or not keep:
                yield recompute, keep


def _largest(needs: Needs, recompute: Recompute, keep: bool, available: float) -> int | None:
    """The largest token budget that fits; None where not even the longest row does."""

    def fits(budget: int) -> bool:
        return needed(needs.memory(budget, recompute, keep_dequantized=keep)) <= available

    given, rows = needs.config.trainer.token_budget, needs.rows
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


def time_of_batch(needs: Needs, budget: int, recompute: Recompute, keep: bool) -> tuple[float, int]:
    """Of one batch, in forward passes of a token; then the budget, the larger the better."""
    tokens = max(needs.rows.batch_tokens, needs.rows.longest)
    passes = 3 if recompute is Recompute.full else 2  # of these each reads the weights
    reading = _DEQUANTISING if in_4_bits(needs.config) and not keep else 0
    micro_batches = ceil(tokens / budget)
    time = tokens * (2 + _EXTRA[recompute]) + micro_batches * passes * (reading + _LAUNCHING)
    return time, -budget
