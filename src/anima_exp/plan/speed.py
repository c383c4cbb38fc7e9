"""How a batch is executed, and on which cards -> the seconds of an optimizer step."""

from dataclasses import dataclass
from math import ceil

from anima_exp.config import Precision, Recompute, RunConfig
from anima_exp.plan.cards import CONTEXT_GIB, Card
from anima_exp.plan.choose import Execution
from anima_exp.plan.flops import Flops, flops
from anima_exp.plan.lengths import Lengths
from anima_exp.plan.memory import GIB, in_4_bits
from anima_exp.plan.shape import Shape
from anima_exp.plan.trained import trained
from anima_exp.plan.weights import WIDTH, split_bytes

# Kernels of one pass through one block, and the time to start one. Assumptions.
_KERNELS_A_BLOCK = 40
_LAUNCH_SECONDS = 5e-6


@dataclass(frozen=True)
class OnCard:
    """A way to use one card, or several that are alike."""

    card: Card
    cards: int
    execution: Execution
    seconds_per_step: float | None  # None: of a machine whose speed is not known
    by_launches: bool = False  # the time is that of starting kernels
    context_gib: float = CONTEXT_GIB  # taken by CUDA and its libraries

    @property
    def peak(self) -> float:
        """Bytes on each card, or on the fullest, with what CUDA takes."""
        return (self.execution.predicted_peak_gib + self.context_gib) * GIB


def seconds_per_step(
    shape: Shape,
    config: RunConfig,
    found: Lengths,
    card: Card,
    execution: Execution,
    *,
    processes: int = 1,
) -> float:
    """Of the slowest process, with the rows of a batch divided over all of them."""
    tokens = found.mean_tokens * ceil(config.trainer.batch_size / processes)
    passes = 3 if execution.recompute is Recompute.full else 2
    passes *= ceil(tokens / execution.token_budget)
    moved = 0.0
    if in_4_bits(config) and not execution.keep_dequantized:
        moved = passes * shape.linear_weights * (0.5 + WIDTH[config.quant.compute_dtype])
    learns = trained(shape, config)
    seconds = card.seconds(
        tokens * flops_of(shape, config, found, execution.recompute).total,
        in_fp32=config.trainer.precision is Precision.fp32,
        moved=moved,
        paged=2 * learns.pageable if execution.paged else 0,
    )
    if execution.sharded:  # the next block arrives while one is computed
        gathering = passes * card.gathering(split_bytes(shape, config), processes)
        seconds = max(seconds, gathering)
    return seconds + card.summing(learns.gradients, processes)


def launching(shape: Shape, config: RunConfig, found: Lengths, execution: Execution) -> float:
    """Return the seconds that a step takes at least, however small the model: to start kernels."""
    passes = 3 if execution.recompute is Recompute.full else 2
    batches = ceil(found.mean_tokens * config.trainer.batch_size / execution.token_budget)
    return passes * batches * shape.layers * _KERNELS_A_BLOCK * _LAUNCH_SECONDS


def flops_of(shape: Shape, config: RunConfig, found: Lengths, recompute: Recompute) -> Flops:
    return flops(
        shape,
        config,
        row_tokens=found.mean_tokens,
        label_share=found.mean_labels / found.mean_tokens,
        recompute=recompute,
    )
