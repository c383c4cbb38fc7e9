"""Shape and RunConfig -> floating-point operations of training, for each token."""

from dataclasses import dataclass

from anima_exp.config import Recompute, RunConfig, TargetModules
from anima_exp.plan.shape import Shape


@dataclass(frozen=True)
class Flops:
    """Of one token; a multiplication and its addition are two."""

    base: float
    adapter: float
    attention: float  # between the tokens of a row
    head: float
    again: float  # what the backward pass computes anew

    @property
    def total(self) -> float:
        return self.base + self.adapter + self.attention + self.head + self.again


def flops(
    shape: Shape, config: RunConfig, *, row_tokens: float, label_share: float, recompute: Recompute
) -> Flops:
    """A frozen matrix costs 4 operations a weight, as it needs no gradient; one that learns 6.

    Args:
        row_tokens: of a typical row, which a token sees half of on average.
        label_share: of the tokens, those that the head is computed for.
    """
    full = config.lora.target_modules is TargetModules.none
    weights = shape.linear_weights + shape.active_experts
    learning = sum(
        config.lora.rank * (one.inputs + one.outputs) * count
        for one, count in shape.adapted(config.lora.target_modules, config.lora.layers)
    )
    # Forward: queries with keys, then with values. Backward: twice that.
    attention = 2 * 2 * (row_tokens / 2) * shape.heads * shape.head_dim * shape.layers
    forward = 2 * weights + 2 * learning + attention
    return Flops(
        base=(6 if full else 4) * weights,
        adapter=6 * learning,
        attention=3 * attention,
        head=(6 if full else 4) * shape.vocab * shape.hidden * label_share,
        again=forward if recompute is Recompute.full else 0.0,
    )
