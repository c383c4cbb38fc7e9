"""How a batch is executed, and on which cards -> the seconds of an optimizer step."""

from dataclasses import dataclass
from math import ceil

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.planner.execution import Execution
from anima_exp.planner.gpus import CONTEXT_GIB, Gpu
from anima_exp.planner.lengths import Lengths
from anima_exp.planner.memory import GIB
from anima_exp.planner.shape import Shape
from anima_exp.planner.step_time import Flops, StepTime, Work, flops, step_time


@dataclass(frozen=True)
class OnCard:
    """A way to use one card, or several that are alike."""

    card: Gpu
    cards: int
    execution: Execution
    step: StepTime | None  # None: of a machine whose speed is not known
    context_gib: float = CONTEXT_GIB  # taken by CUDA and its libraries

    @property
    def peak(self) -> float:
        """Bytes on each card, or on the fullest, with what CUDA takes."""
        return (self.execution.predicted_peak_gib + self.context_gib) * GIB

    @property
    def seconds_per_step(self) -> float | None:
        return self.step.total if self.step else None

    @property
    def by_launches(self) -> bool:
        """Whether the card waits for the processor to launch its kernels."""
        return self.execution.fits and self.step is not None and self.step.by_launches


def time_of_step(
    shape: Shape,
    config: RunConfig,
    found: Lengths,
    card: Gpu,
    execution: Execution,
    *,
    processes: int = 1,
) -> StepTime:
    """Of the slowest process, with the rows of a batch divided over all of them."""
    return step_time(
        shape,
        config,
        Work(
            tokens=found.mean_tokens * ceil(config.trainer.batch_size / processes),
            row_tokens=found.mean_tokens,
            label_share=found.mean_labels / found.mean_tokens,
        ),
        card,
        token_budget=execution.token_budget,
        recompute=execution.recompute,
        keep_dequantized=execution.keep_dequantized,
        paged=execution.paged,
        sharded=execution.sharded,
        processes=processes,
    )


def flops_of(
    shape: Shape, config: RunConfig, found: Lengths, recompute: ActivationCheckpointing
) -> Flops:
    return flops(
        shape,
        config,
        row_tokens=found.mean_tokens,
        label_share=found.mean_labels / found.mean_tokens,
        recompute=recompute,
    )
