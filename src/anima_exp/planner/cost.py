"""RunConfig -> what the run would cost: memory, operations, tokens, and hours on each card."""

from dataclasses import dataclass
from functools import cached_property

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.gpus import CARDS
from anima_exp.planner.here import Placements, by_processes, fewest, this_machine, ways
from anima_exp.planner.lengths import Lengths, lengths, rows_in_all
from anima_exp.planner.memory import MemoryModel
from anima_exp.planner.shape import Shape
from anima_exp.planner.speed import OnCard, flops_of
from anima_exp.planner.step_time import Flops

# 16-bit weights and gradients, and two moments in fp32: what the paper's 780 GB for 65B are.
_FULL_BYTES_A_PARAMETER = 2 + 2 + 8


@dataclass(frozen=True)
class Cost:
    config: RunConfig
    shape: Shape
    lengths: Lengths
    steps: int | None
    cards: int  # that one run uses
    on_cards: list[OnCard]  # of each kind
    here: OnCard | None = None  # this machine, if what it has is known

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
        """Bytes that training every weight in 16 bits would need, before any activation."""
        return self.shape.parameters * _FULL_BYTES_A_PARAMETER

    def hours(self, card: OnCard) -> float | None:
        """Training alone; evaluations are not in it. None where it does not fit."""
        if self.steps is None or not card.execution.fits or card.seconds_per_step is None:
            return None
        return self.steps * card.seconds_per_step / 3600

    def flops(self, recompute: ActivationCheckpointing) -> Flops:
        return flops_of(self.shape, self.config, self.lengths, recompute)

    @cached_property
    def several(self) -> list[Placements]:
        """Where a run uses several cards: of each kind."""
        if self.cards == 1:
            return []
        return [ways(self.shape, self.config, self.lengths, card, self.cards) for card in CARDS]

    @cached_property
    def fewest(self) -> list[OnCard]:
        """Where a run uses one card: of each kind that is too small, as many as would do."""
        small = [one.card for one in self.on_cards if not one.execution.fits]
        if self.cards > 1:
            return []
        found = (fewest(self.shape, self.config, self.lengths, card) for card in small)
        return [one for each in found for one in each]

    @cached_property
    def needs(self) -> MemoryModel:
        return MemoryModel(self.shape, self.config, self.lengths.largest)

    @property
    def budgets(self) -> list[int]:
        """Of tokens at once: the user's, or the least and the most that make sense."""
        given, rows = self.config.trainer.max_tokens_per_micro_batch, self.lengths.largest
        return [given] if given else sorted({rows.longest, rows.batch_tokens})


def cost(config: RunConfig) -> Cost:
    """Raises ModelError: the model's shape cannot be found."""
    shape, found = find_shape(config.model), lengths(config)
    cards = config.trainer.num_gpus or config.launcher.gpus_per_job
    on_cards = [by_processes(shape, config, found, card, cards) for card in CARDS]
    here = this_machine(shape, config, found) if cards == 1 else None
    return Cost(config, shape, found, found.steps(config), cards, on_cards, here)
