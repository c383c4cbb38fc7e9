"""Estimate the seconds of an optimizer step from an execution and the GPUs that it runs on."""

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
class OnGpu:
    """An execution on one GPU, or on several of one type."""

    gpu_type: Gpu
    num_gpus: int
    execution: Execution
    step: StepTime | None  # None if the speed of the machine is not known
    context_gib: float = CONTEXT_GIB  # taken by CUDA and its libraries

    @property
    def peak(self) -> float:
        """Peak bytes on each GPU, or on the fullest, including the CUDA context."""
        return (self.execution.predicted_peak_gib + self.context_gib) * GIB

    @property
    def seconds_per_step(self) -> float | None:
        return self.step.total if self.step else None

    @property
    def by_launches(self) -> bool:
        """Whether the GPU waits for the CPU to launch its kernels."""
        return self.execution.fits and self.step is not None and self.step.by_launches


def time_of_step(
    shape: Shape,
    config: RunConfig,
    lengths: Lengths,
    gpu_type: Gpu,
    execution: Execution,
    *,
    processes: int = 1,
) -> StepTime:
    """Return the time of an optimizer step, whose rows `processes` processes divide."""
    return step_time(
        shape,
        config,
        Work(
            tokens=lengths.mean_tokens * ceil(config.trainer.batch_size / processes),
            row_tokens=lengths.mean_tokens,
            label_share=lengths.mean_labels / lengths.mean_tokens,
        ),
        gpu_type,
        token_budget=execution.token_budget,
        recompute=execution.recompute,
        keep_dequantized=execution.keep_dequantized,
        paged=execution.paged,
        sharded=execution.sharded,
        processes=processes,
    )


def flops_of(
    shape: Shape, config: RunConfig, lengths: Lengths, recompute: ActivationCheckpointing
) -> Flops:
    return flops(
        shape,
        config,
        row_tokens=lengths.mean_tokens,
        label_share=lengths.mean_labels / lengths.mean_tokens,
        recompute=recompute,
    )
