"""RunConfig -> what the run would cost: memory, operations, tokens, and hours on each card."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

from anima_exp.config import Precision, Recompute, RunConfig
from anima_exp.plan.cards import CARDS, Card
from anima_exp.plan.choose import Execution, choose
from anima_exp.plan.find_shape import find_shape
from anima_exp.plan.flops import Flops, flops
from anima_exp.plan.lengths import Lengths, lengths
from anima_exp.plan.memory import Needs, in_4_bits
from anima_exp.plan.shape import Shape
from anima_exp.plan.trained import trained
from anima_exp.plan.weights import WIDTH

# 16-bit weights and gradients, and two moments in fp32: what the paper's 780 GB for 65B are.
_FULL_BYTES_A_PARAMETER = 2 + 2 + 8


@dataclass(frozen=True)
class OnCard:
    card: Card
    execution: Execution
    seconds_per_step: float


@dataclass(frozen=True)
class Cost:
    config: RunConfig
    shape: Shape
    lengths: Lengths
    steps: int | None
    on_cards: list[OnCard]

    @property
    def tokens_per_step(self) -> float:
        return self.lengths.mean_tokens * self.config.trainer.batch_size

    @property
    def tokens(self) -> float | None:
        return None if self.steps is None else self.steps * self.tokens_per_step

    @property
    def full_fine_tuning(self) -> int:
        """Bytes that training every weight in 16 bits would need, before any activation."""
        return self.shape.parameters * _FULL_BYTES_A_PARAMETER

    def hours(self, card: OnCard) -> float | None:
        """Training alone; evaluations are not in it. None where it does not fit."""
        if self.steps is None or not card.execution.fits:
            return None
        return self.steps * card.seconds_per_step / 3600

    def flops(self, recompute: Recompute) -> Flops:
        return _flops(self.shape, self.config, self.lengths, recompute)

    @cached_property
    def needs(self) -> Needs:
        return Needs(self.shape, self.config, self.lengths.largest)

    @property
    def budgets(self) -> list[int]:
        """Of tokens at once: the user's, or the least and the most that make sense."""
        given, rows = self.config.trainer.token_budget, self.lengths.largest
        return [given] if given else sorted({rows.longest, rows.batch_tokens})


def cost(config: RunConfig) -> Cost:
    """Raises ModelError: the model's shape cannot be found."""
    shape, found = find_shape(config.model), lengths(config)
    on_cards = []
    for card in CARDS:
        execution = choose(shape, config, found.largest, available=card.available)
        on_cards.append(OnCard(card, execution, _seconds(shape, config, found, card, execution)))
    return Cost(config, shape, found, found.steps(config), on_cards)


def _seconds(
    shape: Shape, config: RunConfig, found: Lengths, card: Card, execution: Execution
) -> float:
    """Of one optimizer step."""
    tokens = found.mean_tokens * config.trainer.batch_size
    moved = 0.0
    if in_4_bits(config) and not execution.keep_dequantized:
        passes = 3 if execution.recompute is Recompute.full else 2
        read_and_written = shape.linear_weights * (0.5 + WIDTH[config.quant.compute_dtype])
        moved = ceil(tokens / execution.token_budget) * passes * read_and_written
    return card.seconds(
        tokens * _flops(shape, config, found, execution.recompute).total,
        in_fp32=config.trainer.precision is Precision.fp32,
        moved=moved,
        paged=2 * trained(shape, config).pageable if execution.paged else 0,
    )


def _flops(shape: Shape, config: RunConfig, found: Lengths, recompute: Recompute) -> Flops:
    return flops(
        shape,
        config,
        row_tokens=found.mean_tokens,
        label_share=found.mean_labels / found.mean_tokens,
        recompute=recompute,
    )
