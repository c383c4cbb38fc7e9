"""Shape, RunConfig and tokens -> the bytes that a forward pass keeps for its backward pass."""

from dataclasses import dataclass

from anima_exp.config import Precision, Recompute, RunConfig, TargetModules
from anima_exp.model.layer_sets import Linear, in_set
from anima_exp.plan.shape import Block, Shape
from anima_exp.plan.weights import WIDTH


@dataclass(frozen=True)
class Activations:
    """Bytes."""

    kept: int  # from the forward pass to the backward pass
    working: int  # beside it, while one block is computed again or goes backward

    @property
    def total(self) -> int:
        return self.kept + self.working


def activations(shape: Shape, config: RunConfig, *, recompute: Recompute) -> Activations:
    """For each token of a micro-batch. The loss is not in it."""
    kept = sum(
        block.count * _kept_by_block(shape, block, config, recompute) for block in shape.blocks
    )
    again = max(_recomputed_by_block(shape, block, config, recompute) for block in shape.blocks)
    return Activations(kept, again + max(_gradients(block, config) for block in shape.blocks))


def _kept_by_block(shape: Shape, block: Block, config: RunConfig, recompute: Recompute) -> int:
    """Bytes a token."""
    width = WIDTH[config.trainer.precision]
    if recompute is Recompute.full:
        return width * shape.hidden
    if recompute is Recompute.selective:
        products = sum(one.outputs for one in block.linears)
        return width * (shape.hidden + products) + _attention(shape, width, projections=False)
    return _whole(shape, block, config)


def _recomputed_by_block(
    shape: Shape, block: Block, config: RunConfig, recompute: Recompute
) -> int:
    if recompute is Recompute.none:
        return 0
    whole = _whole(shape, block, config)
    if recompute is Recompute.full:
        return whole
    width = WIDTH[config.trainer.precision]
    return max(0, whole - _kept_by_block(shape, block, config, recompute) + width * shape.hidden)


def _whole(shape: Shape, block: Block, config: RunConfig) -> int:
    """All that one block keeps for its backward pass."""
    width = WIDTH[config.trainer.precision]
    adapted = in_set(block.linears, config.lora.target_modules, hidden=shape.hidden)
    learns_all = config.lora.target_modules is TargetModules.none
    return (
        _norms(shape, block, config, width)
        + width * _inputs(block, block.linears if learns_all else adapted)
        + width * config.lora.rank * len(adapted)
        + _attention(shape, width, projections=True)
        + width * _feed_forward(block, fused=bool(config.trainer.liger))
    )


def _norms(shape: Shape, block: Block, config: RunConfig, width: int) -> int:
    # transformers' RMSNorm computes in fp32 and keeps that copy of its input; a fused one keeps
    # the input itself. In fp32 both are the residual stream.
    wide = width if config.trainer.liger else WIDTH[Precision.fp32]
    normed = 2 * shape.hidden
    if block.head_norms:
        normed += (shape.heads + shape.kv_heads) * shape.head_dim
    return wide * normed


def _inputs(block: Block, learning: tuple[Linear, ...] | list[Linear]) -> int:
    """Elements of the inputs that learning layers keep; layers beside each other share theirs."""
    kept, last = 0, {one.holder: one for one in block.linears}
    for holder in dict.fromkeys(one.holder for one in learning):
        inside = [one for one in learning if one.holder == holder]
        shared = [one for one in inside if one != last[holder]]
        kept += shared[0].inputs if shared else 0
        kept += last[holder].inputs if last[holder] in inside else 0
    return kept


def _attention(shape: Shape, width: int, *, projections: bool) -> int:
    """Bytes of queries, keys, values, what comes out, and a sum in fp32 for each head."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    inputs = queries + 2 * keys if projections else 0
    return width * (inputs + queries) + WIDTH[Precision.fp32] * shape.heads


def _feed_forward(block: Block, *, fused: bool) -> int:
    """Elements of gate, its activation, and up; a fused kernel computes the activation again."""
    hidden = [one for one in block.linears if not one.attention]
    if not hidden:
        return 0
    out = hidden[-1]
    wide = [one for one in hidden[:-1] if one.outputs == out.inputs]
    return sum(one.outputs for one in wide) + (out.inputs if len(wide) > 1 and not fused else 0)


def _gradients(block: Block, config: RunConfig) -> int:
    """Bytes a token of the gradients that are there at once, at the widest place."""
    width = WIDTH[config.trainer.precision]
    widest = max(max(one.inputs, one.outputs) for one in block.linears)
    narrow = min(max(one.inputs, one.outputs) for one in block.linears)
    return width * (3 * widest + 2 * narrow)
