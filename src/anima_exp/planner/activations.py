"""Shape, RunConfig and tokens -> the bytes that a forward pass keeps for its backward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from anima_exp.config import ActivationCheckpointing, Precision, RunConfig
from anima_exp.libraries.torch_internals import repeats_kv_heads
from anima_exp.model.target_modules import Linear, select
from anima_exp.planner.shape import Block, Shape
from anima_exp.planner.weights import WIDTH


@dataclass(frozen=True)
class Activations:
    """Bytes."""

    kept: int  # from the forward pass to the backward pass
    working: int  # beside it, while one block is computed again and goes backward


def activations(
    shape: Shape, config: RunConfig, *, recompute: ActivationCheckpointing, gpu: bool = True
) -> Activations:
    """For each token of a micro-batch. The loss is not in it."""
    width = WIDTH[config.trainer.precision]
    kept = sum(
        block.count * kept_by_block(shape, block, config, recompute, gpu) for block in shape.blocks
    )
    kept += 2 * width * shape.head_dim  # the rotations of queries and keys
    learns_all = config.lora.is_full_finetune
    if (
        recompute is not ActivationCheckpointing.none or learns_all
    ):  # else the first norm of all keeps nothing
        kept += (_norm_width(config) + (_SUM if learns_all else 0)) * shape.hidden
    again = 0
    if recompute is not ActivationCheckpointing.none:
        again = max(
            _whole(shape, block, config, gpu)
            - (
                _products(shape, block, config)
                if recompute is ActivationCheckpointing.selective
                else 0
            )
            for block in shape.blocks
        )
    return Activations(kept, max(again, 0) + _gradients(shape, width))


def kept_by_block(
    shape: Shape, block: Block, config: RunConfig, recompute: ActivationCheckpointing, gpu: bool
) -> int:
    """Bytes a token, of one such block."""
    if recompute is ActivationCheckpointing.none:
        return _whole(shape, block, config, gpu)
    width = WIDTH[config.trainer.precision]
    kept = width * shape.hidden
    if recompute is ActivationCheckpointing.selective:
        attended = width * shape.heads * shape.head_dim + _SUM * shape.heads
        kept += _products(shape, block, config) + attended
    return kept


def _products(shape: Shape, block: Block, config: RunConfig) -> int:
    """What selective recomputation keeps of matrix products: with an adapter, A x too."""
    width, rank = WIDTH[config.trainer.precision], config.lora.rank
    products = sum(one.outputs for one in block.linears)
    return width * (products + rank * len(_adapted(shape, block, config)))


def _whole(shape: Shape, block: Block, config: RunConfig, gpu: bool) -> int:
    """All that one block keeps for its backward pass."""
    width = WIDTH[config.trainer.precision]
    adapted = _adapted(shape, block, config)
    learns_all = config.lora.is_full_finetune
    fused = bool(config.trainer.liger)
    # Attention over rows of different lengths; before torch 2.10 it is computed row by row.
    one_kernel = gpu and width == 2 and not repeats_kv_heads()
    if learns_all and width == 2:  # autocast gives each layer a copy of its input
        kept = width * sum(one.inputs for one in block.linears)
    else:
        kept = width * _inputs(block, block.linears if learns_all else adapted, one_kernel)
    kept += width * config.lora.rank * len(adapted)
    kept += width * _attention(shape, one_kernel) + _SUM * shape.heads
    kept += width * _feed_forward(block, fused=fused)
    normed = 2 * shape.hidden
    if block.head_norms:
        normed += (shape.heads + shape.kv_heads) * shape.head_dim
    kept += _norm_width(config) * normed
    if learns_all:  # a norm that learns keeps what it has scaled, too
        kept += _SUM * normed
    return kept


_SUM = WIDTH[Precision.fp32]  # bytes of a number that is summed up precisely


def _norm_width(config: RunConfig) -> int:
    # transformers' RMSNorm computes in fp32 and keeps that copy of its input; a fused one keeps
    # the input itself. In fp32 both are the residual stream.
    return WIDTH[config.trainer.precision] if config.trainer.liger else _SUM


def _adapted(shape: Shape, block: Block, config: RunConfig) -> list[Linear]:
    lora = config.lora
    return select(block.linears, lora.target_modules, hidden=shape.hidden, names=lora.layers)


def _inputs(block: Block, learning: Sequence[Linear], one_kernel: bool) -> int:
    """Elements of the inputs that learning layers keep; layers beside each other share theirs.

    The last layer of attention reads what attention has kept, where one kernel does all rows.
    """
    kept, last = 0, {one.holder: one for one in block.linears}
    for holder in dict.fromkeys(one.holder for one in learning):
        inside = [one for one in learning if one.holder == holder]
        shared = [one for one in inside if one != last[holder]]
        kept += shared[0].inputs if shared else 0
        if last[holder] in inside and not (one_kernel and last[holder].attention):
            kept += last[holder].inputs
    return kept


def _attention(shape: Shape, one_kernel: bool) -> int:
    """Elements of queries, keys, values and what comes out."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Row by row, keys and values are repeated for all heads that share them.
    return 2 * queries + 2 * (keys if one_kernel else queries)


def _feed_forward(block: Block, *, fused: bool) -> int:
    """Elements of gate, its activation, and up; a fused kernel computes the activation again."""
    hidden = [one for one in block.linears if not one.attention]
    if not hidden:
        return 0
    out = hidden[-1]
    wide = [one for one in hidden[:-1] if one.outputs == out.inputs]
    return sum(one.outputs for one in wide) + (out.inputs if len(wide) > 1 and not fused else 0)


def _gradients(shape: Shape, width: int) -> int:
    """Bytes of the gradients that are there at once, at the widest place: two, and the stream's."""
    every = (one for block in shape.blocks for one in block.linears)
    return width * (2 * max(max(one.inputs, one.outputs) for one in every) + shape.hidden)
