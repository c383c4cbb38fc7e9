"""Estimate what a run costs: memory, operations, tokens, and hours on each type of GPU."""

from dataclasses import dataclass
from functools import cached_property

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.config.checks import check_length
from anima_exp.display.notebook import html_table, text_table
from anima_exp.display.tables import Column
from anima_exp.display.units import format_count, hours, size
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.gpus import GPU_TYPES
from anima_exp.planner.here import Placements, by_processes, fewest, this_machine, ways
from anima_exp.planner.lengths import Lengths, lengths, rows_in_all
from anima_exp.planner.memory import GIB, MemoryModel
from anima_exp.planner.shape import Shape
from anima_exp.planner.speed import OnGpu, flops_of
from anima_exp.planner.step_time import Flops

# 16-bit weights and gradients, and two moments in fp32: what the paper's 780 GB for 65B are.
_FULL_BYTES_A_PARAMETER = 2 + 2 + 8


@dataclass(frozen=True)
class Option:
    """One way to execute a run: on a GPU, on several that are alike, or on this machine."""

    name: str  # of the GPU, or `this machine`
    num_gpus: int
    memory_gb: int  # of each GPU, as it is sold
    fits: bool
    peak_gib: float  # of each GPU, or of the fullest; if it does not fit, what it would take
    hours: float | None  # of training alone; None if it does not fit or the speed is not known
    tokens_per_second: float | None
    max_tokens_per_micro_batch: int
    activation_checkpointing: str
    cache_dequantized: bool
    paged: bool  # it fits because optimizer states move to CPU memory
    placement: str  # of the base: whole on each GPU, sharded by FSDP, or spread by a device map


@dataclass(frozen=True, repr=False)
class Cost:
    """What a run would cost, before anything is loaded.

    Its numbers are estimates. `anima-exp plan` prints all of them.
    """

    config: RunConfig
    shape: Shape
    lengths: Lengths
    steps: int | None
    num_gpus: int  # that one run uses
    on_gpus: list[OnGpu]  # one for each listed type
    here: OnGpu | None = None  # on this machine, if its hardware is known

    @property
    def tokens_per_step(self) -> float:
        return self.lengths.mean_tokens * self.config.trainer.batch_size

    @property
    def tokens(self) -> float | None:
        if self.steps is None:
            return None
        if self.lengths.rows is None:
            return self.steps * self.tokens_per_step
        return rows_in_all(self.config.trainer, self.lengths.rows) * self.lengths.mean_tokens

    @property
    def full_fine_tuning(self) -> int:
        """Bytes that full fine-tuning in 16 bits would need, before any activation."""
        return self.shape.parameters * _FULL_BYTES_A_PARAMETER

    @property
    def options(self) -> list[Option]:
        """The ways to execute the run: this machine first if it is known, then each GPU type.

        If a GPU type is too small alone, as many of them follow as it takes.
        """
        several = [one for way in self.several for one in (way.copies, way.sharded, way.spread)]
        found = [self.here, *self.on_gpus, *several, *self.fewest]
        return [self._option(one) for one in found if one is not None]

    @property
    def option(self) -> Option:
        """This machine if the run fits it, else the first that fits, else what needs least."""
        options = self.options
        least = min(options, key=lambda one: one.peak_gib)
        return next((one for one in options if one.fits), least)

    @property
    def peak_gib(self) -> float:
        """The peak memory of `option`, on each GPU."""
        return self.option.peak_gib

    @property
    def hours(self) -> float | None:
        """The hours of training that `option` takes; None if its speed is not known."""
        return self.option.hours

    def _option(self, one: OnGpu) -> Option:
        how, seconds = one.execution, one.seconds_per_step
        return Option(
            name=one.gpu_type.name,
            num_gpus=one.num_gpus,
            memory_gb=one.gpu_type.memory_gb,
            fits=how.fits,
            peak_gib=one.peak / GIB,
            hours=self.hours_on(one),
            tokens_per_second=self.tokens_per_step / seconds if seconds and how.fits else None,
            max_tokens_per_micro_batch=how.token_budget,
            activation_checkpointing=how.recompute.value,
            cache_dequantized=how.keep_dequantized,
            paged=how.paged,
            placement=how.placement.value,
        )

    def __str__(self) -> str:
        return f"{self._caption}\n{text_table(self._columns)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        best = self.options.index(self.option)
        return html_table(self._columns, caption=self._caption, bold=[best])

    @property
    def _caption(self) -> str:
        steps = "unknown" if self.steps is None else f"{self.steps:,}"
        tokens = "unknown" if self.tokens is None else format_count(self.tokens)
        return (
            f"{self.config.model.name} on {self.config.data.name}: "
            f"{format_count(self.shape.parameters)} parameters, {steps} steps, "
            f"{tokens} tokens (estimates)"
        )

    @property
    def _columns(self) -> list[Column]:
        options = self.options
        return [
            Column("", [one.name for one in options], right=False),
            Column("GPUs", [str(one.num_gpus) for one in options]),
            Column("GB", [str(one.memory_gb) for one in options]),
            Column("fits", ["yes" if one.fits else "no" for one in options], right=False),
            Column("peak", [size(one.peak_gib * GIB) for one in options]),
            Column("training", [hours(one.hours) for one in options]),
        ]

    def hours_on(self, gpu_type: OnGpu) -> float | None:
        """Return the hours of training, without evaluations; None if it does not fit."""
        if self.steps is None or not gpu_type.execution.fits or gpu_type.seconds_per_step is None:
            return None
        return self.steps * gpu_type.seconds_per_step / 3600

    def flops(self, recompute: ActivationCheckpointing) -> Flops:
        return flops_of(self.shape, self.config, self.lengths, recompute)

    @cached_property
    def several(self) -> list[Placements]:
        """The ways to use `num_gpus` GPUs of each type; empty if the run uses one."""
        if self.num_gpus == 1:
            return []
        return [
            ways(self.shape, self.config, self.lengths, gpu_type, self.num_gpus)
            for gpu_type in GPU_TYPES
        ]

    @cached_property
    def fewest(self) -> list[OnGpu]:
        """For each type of which one GPU is too small: the smallest numbers on which the run fits.

        It is empty if the run uses several GPUs.
        """
        small = [one.gpu_type for one in self.on_gpus if not one.execution.fits]
        if self.num_gpus > 1:
            return []
        found = (fewest(self.shape, self.config, self.lengths, gpu_type) for gpu_type in small)
        return [one for each in found for one in each]

    @cached_property
    def needs(self) -> MemoryModel:
        return MemoryModel(self.shape, self.config, self.lengths.largest)

    @property
    def budgets(self) -> list[int]:
        """Token budgets to show: the user's, or else the smallest and the largest useful one."""
        given, rows = self.config.trainer.max_tokens_per_micro_batch, self.lengths.largest
        return [given] if given else sorted({rows.longest, rows.batch_tokens})


def cost(config: RunConfig) -> Cost:
    """Return the cost of a run.

    Raises:
        ModelError: if the model's config.json cannot be read or is not supported.
        DataError: if a row of the data file cannot be used.
        ConfigError: if the settings do not say how long to train.
    """
    check_length(config)
    shape, found = find_shape(config.model), lengths(config)
    num_gpus = config.trainer.num_gpus or config.launcher.gpus_per_job
    on_gpus = [by_processes(shape, config, found, gpu_type, num_gpus) for gpu_type in GPU_TYPES]
    here = this_machine(shape, config, found) if num_gpus == 1 else None
    return Cost(config, shape, found, found.steps(config), num_gpus, on_gpus, here)
