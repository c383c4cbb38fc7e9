"""Compute the bytes of activations that a forward pass keeps for its backward pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from anima_exp.config import (
    ActivationCheckpointing,
    LoraInit,
    LoraVariant,
    Precision,
    RunConfig,
)
from anima_exp.libraries.torch_internals import repeats_kv_heads
from anima_exp.model.target_modules import Linear
from anima_exp.planner.adapted import adapted_in
from anima_exp.planner.shape import Block, Shape
from anima_exp.planner.weights import WIDTH


@dataclass(frozen=True)
class Activations:
    """Bytes."""

    kept: int  # from the forward pass to the backward pass
    working: int  # in addition, while the backward pass recomputes one block


def activations(
    shape: Shape, config: RunConfig, *, recompute: ActivationCheckpointing, gpu: bool = True
) -> Activations:
    """Return the activations per token of a micro-batch, without those of the loss."""
    width = WIDTH[config.trainer.precision]
    kept = sum(
        block.count * kept_by_block(shape, block, config, recompute, gpu) for block in shape.blocks
    )
    kept += 2 * width * shape.head_dim  # the rotations of queries and keys
    full = config.lora.is_full_finetune
    if full or recompute is not ActivationCheckpointing.none:  # else the first norm keeps nothing
        kept += (_norm_width(config) + (_SUM if full else 0)) * shape.hidden
    recomputed = 0
    if recompute is not ActivationCheckpointing.none:
        recomputed = max(
            _all_of_block(shape, block, config, gpu)
            - (
                _products(shape, block, config)
                if recompute is ActivationCheckpointing.selective
                else 0
            )
            for block in shape.blocks
        )
    return Activations(kept, max(recomputed, 0) + _gradients(shape, width))


def kept_by_block(
    shape: Shape, block: Block, config: RunConfig, recompute: ActivationCheckpointing, gpu: bool
) -> int:
    """Return the bytes per token that one such block keeps."""
    if recompute is ActivationCheckpointing.none:
        return _all_of_block(shape, block, config, gpu)
    width = WIDTH[config.trainer.precision]
    kept = width * shape.hidden
    if recompute is ActivationCheckpointing.selective:
        attended = width * shape.heads * shape.head_dim + _SUM * shape.heads
        kept += _products(shape, block, config) + attended
    return kept


def _products(shape: Shape, block: Block, config: RunConfig) -> int:
    """Bytes of matrix products that selective checkpointing keeps; with an adapter, A x too."""
    products = sum(one.outputs for one in block.linears)
    return WIDTH[config.trainer.precision] * (products + _ranks(shape, block, config))


def _all_of_block(shape: Shape, block: Block, config: RunConfig, gpu: bool) -> int:
    """Bytes per token that one block keeps without activation checkpointing."""
    width = WIDTH[config.trainer.precision]
    adapted = _adapted(shape, block, config)
    full = config.lora.is_full_finetune
    fused = bool(config.trainer.liger)
    # One kernel for rows of different lengths. Before torch 2.10 they are computed row by row.
    one_kernel = gpu and width == 2 and not repeats_kv_heads()
    if full and width == 2:  # autocast gives each layer a copy of its input
        kept = width * sum(one.inputs for one in block.linears)
    else:
        kept = width * _inputs(block, block.linears if full else adapted, one_kernel)
    kept += width * _ranks(shape, block, config)
    if config.lora.variant is LoraVariant.dora:
        kept += _of_dora(adapted, config)
    kept += width * _attention(shape, one_kernel) + _SUM * shape.heads
    kept += width * _feed_forward(block, fused=fused)
    kept += width * experts_kept(
        block, rank=config.lora.rank if config.lora.experts else 0, full=full
    )
    normed = 2 * shape.hidden
    if block.head_norms:
        normed += (shape.heads + shape.kv_heads) * shape.head_dim
    kept += _norm_width(config) * normed
    if full:  # a trained norm also keeps what it has scaled
        kept += _SUM * normed
    return kept


_SUM = WIDTH[Precision.fp32]  # bytes of a number that is accumulated in fp32


def _norm_width(config: RunConfig) -> int:
    # transformers' RMSNorm computes in fp32 and keeps that copy of its input; a fused one keeps
    # the input itself. In fp32 both are the residual stream.
    return WIDTH[config.trainer.precision] if config.trainer.liger else _SUM


def _adapted(shape: Shape, block: Block, config: RunConfig) -> list[Linear]:
    return list(dict.fromkeys(one.layer for one in adapted_in(shape, block, config.lora)))


def _ranks(shape: Shape, block: Block, config: RunConfig) -> int:
    """Numbers that one token leaves in the narrow products of a block's adapters."""
    adapted = adapted_in(shape, block, config.lora)
    times = 2 if config.lora.init in (LoraInit.pissa, LoraInit.olora) else 1  # A0 x too
    return times * -(-sum(one.rank * one.blocks for one in adapted) // block.count)


def _of_dora(adapted: Sequence[Linear], config: RunConfig) -> int:
    """Bytes that PEFT's forward pass keeps for a token besides the input of each layer.

    The input in fp32 and in 16 bits, with dropout its mask, and both results in fp32.
    """
    width = WIDTH[config.trainer.precision]
    inputs = _SUM + (0 if width == _SUM else width) + (_SUM + 1 if config.lora.dropout else 0)
    return sum(inputs * one.inputs + 3 * _SUM * one.outputs for one in adapted)


def _inputs(block: Block, trained: Sequence[Linear], one_kernel: bool) -> int:
    """Elements of the inputs that trained layers keep. Layers with the same input share it.

    If one kernel computes all rows, the last layer of attention reads what attention has kept.
    """
    kept, last = 0, {one.holder: one for one in block.linears}
    for holder in dict.fromkeys(one.holder for one in trained):
        inside = [one for one in trained if one.holder == holder]
        shared = [one for one in inside if one != last[holder]]
        kept += shared[0].inputs if shared else 0
        if last[holder] in inside and not (one_kernel and last[holder].attention):
            kept += last[holder].inputs
    return kept


def _attention(shape: Shape, one_kernel: bool) -> int:
    """Elements of queries, keys, values and the output."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Computed row by row, keys and values are repeated for all heads that share them.
    return 2 * queries + 2 * (keys if one_kernel else queries)


def _feed_forward(block: Block, *, fused: bool) -> int:
    """Elements of gate, its activation, and up. A fused kernel recomputes the activation."""
    hidden = [one for one in block.linears if not one.attention]
    if not hidden:
        return 0
    out = hidden[-1]
    wide = [one for one in hidden[:-1] if one.outputs == out.inputs]
    return sum(one.outputs for one in wide) + (out.inputs if len(wide) > 1 and not fused else 0)


def experts_kept(block: Block, *, rank: int, full: bool) -> int:
    """Return the elements per token that stacked experts keep, in all that it passes through.

    They are gate, its activation, up, and the outputs, which the router's weights scale. With
    adapters or trained experts also the inputs of both products, and A x.
    """
    if not block.experts:
        return 0
    chosen, wide = block.experts[0].chosen, block.experts[-1].inputs
    kept = chosen * (3 * wide + block.experts[-1].outputs)
    if full or rank:
        kept += sum(one.chosen * (one.inputs + rank) for one in block.experts)
    return int(kept)


def _gradients(shape: Shape, width: int) -> int:
    """Bytes of gradients held at the widest layer: of its input and output, and of the residual."""
    every = (one for block in shape.blocks for one in block.linears)
    widest = max(max(one.inputs, one.outputs) for one in every)
    stacks = (one for block in shape.blocks for one in block.experts)
    for one in stacks:
        widest = max(widest, int(one.chosen * max(one.inputs, one.outputs)))
    return width * (2 * widest + shape.hidden)
