"""Estimate the floating-point operations of a token and the seconds of an optimizer step.

The GPU computes while the CPU launches its next kernels, so a forward and backward pass takes as
long as the slower of the two. The end of a step, with the gradient norm and the optimizer, is added
to that. Launches were counted, but no time in seconds has been measured on a GPU.
"""

from dataclasses import dataclass
from math import ceil

from anima_exp.config import ActivationCheckpointing, Precision, RunConfig
from anima_exp.model.target_modules import Linear
from anima_exp.planner.adapted import adapted_in, adapted_layers
from anima_exp.planner.gpus import Gpu
from anima_exp.planner.shape import Block, Shape
from anima_exp.planner.weights import WIDTH, split_bytes, trained


@dataclass(frozen=True)
class Flops:
    """Floating-point operations per token; a multiplication and its addition count as two."""

    base: float
    adapter: float
    attention: float  # between the tokens of a row
    head: float
    again: float  # recomputed in the backward pass

    @property
    def total(self) -> float:
        return self.base + self.adapter + self.attention + self.head + self.again


def flops(
    shape: Shape,
    config: RunConfig,
    *,
    row_tokens: float,
    label_share: float,
    recompute: ActivationCheckpointing,
) -> Flops:
    """Count the operations per token of training.

    A frozen matrix costs 4 operations per weight, since it needs no gradient; a trained one 6.

    Args:
        row_tokens: tokens of a typical row; a token attends to half of them on average.
        label_share: the fraction of tokens that the head is computed for.
    """
    full = config.lora.is_full_finetune
    weights = shape.linear_weights + shape.active_experts
    learning = sum(
        one.rank * (one.layer.inputs + one.layer.outputs) * one.blocks
        for one in adapted_layers(shape, config.lora)
    )
    if config.lora.experts:
        learning += sum(
            block.count * int(config.lora.rank * one.chosen * (one.inputs + one.outputs))
            for block in shape.blocks
            for one in block.experts
        )
    # Forward: queries with keys, then with values. Backward: twice that.
    attention = 2 * 2 * (row_tokens / 2) * shape.heads * shape.head_dim * shape.layers
    forward = 2 * weights + 2 * learning + attention
    return Flops(
        base=(6 if full else 4) * weights,
        adapter=6 * learning,
        attention=3 * attention,
        head=(6 if full else 4) * shape.vocab * shape.hidden * label_share,
        again=forward if recompute is ActivationCheckpointing.full else 0.0,
    )


# An estimate: the 3,300 launches of a 7B step are expected to take 0.09 s of one server core, with
# Python and autograd included. The driver call alone takes about 5 microseconds.
LAUNCH_SECONDS = 28e-6
# Launches of one forward and backward pass, as docs/gpu.md counts them.
_OUTSIDE = 100  # embeddings, last norm, head and loss
_A_BLOCK = 30  # attention, norms, rotations and additions; 39 if queries and keys have norms
_A_LAYER = 2  # a frozen linear layer
_EXPERTS = 40  # of a block: sorting tokens by expert, two grouped products, gate and sum
_AN_ADAPTER = 8  # in addition: LoRA's products, masks and gradients
_A_DEQUANTISED = 3  # a matrix in 4 bits -> 16 bits: once forward, once backward
# CPU time that activation checkpointing adds to a pass, as a fraction of a pass without it. With
# selective checkpointing a Python function decides about each operation. Measured without a GPU.
_AGAIN_HOST = {
    ActivationCheckpointing.none: 0.0,
    ActivationCheckpointing.selective: 0.7,
    ActivationCheckpointing.full: 0.45,
}
# The same for the bytes moved outside of matrix products. The forward pass moves a third of them.
_AGAIN_MOVED = {
    ActivationCheckpointing.none: 0.0,
    ActivationCheckpointing.selective: 0.33,
    ActivationCheckpointing.full: 0.33,
}
# Elements of trainer.precision that are read and written outside of matrix products.
_INPUTS, _MASKED = 2, 4  # times the input of a layer with an adapter; more if it has dropout
_OUTPUTS = 4  # times its output: the update is added to it, and its gradient is read
_STREAM = 28  # times the hidden size: norms, rotations and residual additions
_GATED = 8  # times the width inside: the activation and its gradient
_OPTIMIZER_BYTES = 28  # a trained parameter in fp32: gradient, weight and two moments
# bitsandbytes' paged optimizers wait for the GPU after each tensor. The waits were counted; their
# duration is an estimate.
_WAIT_SECONDS = 90e-6


@dataclass(frozen=True)
class Work:
    """The part of an optimizer batch that one process computes."""

    tokens: float
    row_tokens: float  # of a typical row
    label_share: float  # the fraction of tokens that are labels


@dataclass(frozen=True)
class StepTime:
    """Seconds."""

    device: float  # the GPU computes forward and backward passes
    host: float  # the CPU launches their kernels
    end: float  # afterwards: the gradient norm and the optimizer
    gathering: float = 0.0  # all-gathers of a sharded base model
    summing: float = 0.0  # the all-reduce of gradients

    @property
    def total(self) -> float:
        return max(self.device, self.host, self.gathering) + self.end + self.summing

    @property
    def by_launches(self) -> bool:
        """Whether the GPU waits for the CPU."""
        return self.host > self.device


def step_time(
    shape: Shape,
    config: RunConfig,
    work: Work,
    gpu_type: Gpu,
    *,
    token_budget: int,
    recompute: ActivationCheckpointing,
    keep_dequantized: bool,
    paged: bool = False,
    sharded: bool = False,
    processes: int = 1,
) -> StepTime:
    """Estimate the time of one optimizer step.

    Args:
        paged: whether optimizer states are in CPU memory.
        processes: the number that divide the batch; `work` is the part of one of them.
    """
    passes = max(1, ceil(work.tokens / token_budget))
    reads = 3 if recompute is ActivationCheckpointing.full else 2  # of each weight in a pass
    dequantizes = config.quant.is_4bit and not keep_dequantized
    width = WIDTH[config.trainer.precision]
    weights = shape.linear_weights + shape.expert_weights
    products = flops(
        shape,
        config,
        row_tokens=work.row_tokens,
        label_share=work.label_share,
        recompute=recompute,
    )
    fp32 = config.trainer.precision is Precision.fp32
    # A product of few tokens takes as long as reading its weights.
    multiplying = max(
        gpu_type.computing(work.tokens * products.total, in_fp32=fp32),
        passes * reads * gpu_type.moving(weights * width),
    )
    moved = work.tokens * _moved(shape, config) * (1 + _AGAIN_MOVED[recompute])
    if dequantizes:
        moved += passes * reads * weights * (0.5 + WIDTH[config.quant.compute_dtype])
    learns = trained(shape, config)
    end = learns.tensors * (LAUNCH_SECONDS + (_WAIT_SECONDS if paged else 0))
    end += gpu_type.moving(learns.parameters * _OPTIMIZER_BYTES)
    if paged:
        end += gpu_type.paging(2 * learns.pageable)
    launches = _launches(shape, config) * (1 + _AGAIN_HOST[recompute])
    if dequantizes:
        matrices = sum(b.count * (len(b.linears) + len(b.experts)) for b in shape.blocks)
        launches += reads * _A_DEQUANTISED * matrices
    gathering = 0.0
    if sharded:
        gathering = passes * reads * gpu_type.gathering(split_bytes(shape, config), processes)
    return StepTime(
        device=multiplying + gpu_type.moving(moved),
        host=passes * launches * LAUNCH_SECONDS,
        end=end,
        gathering=gathering,
        summing=gpu_type.summing(learns.gradients, processes),
    )


def _launches(shape: Shape, config: RunConfig) -> int:
    """Return the kernel launches of one pass without activation checkpointing."""
    inside = sum(
        block.count
        * (
            _A_BLOCK
            + _A_LAYER * len(block.linears)
            + _AN_ADAPTER * len(_adapted(shape, block, config))
            + (_EXPERTS if block.experts else 0)
        )
        for block in shape.blocks
    )
    return _OUTSIDE + inside


def _moved(shape: Shape, config: RunConfig) -> float:
    """Return the bytes per token moved outside of matrix products, forward and backward."""
    inputs = _INPUTS + (_MASKED if config.lora.dropout else 0)
    numbers = 0
    for block in shape.blocks:
        adapted = _adapted(shape, block, config)
        inside = [one.inputs for one in block.linears if not one.attention]
        numbers += block.count * (
            sum(inputs * one.inputs + _OUTPUTS * one.outputs for one in adapted)
            + _STREAM * shape.hidden
            + _GATED * max(inside, default=0)
        )
    return numbers * WIDTH[config.trainer.precision]


def _adapted(shape: Shape, block: Block, config: RunConfig) -> list[Linear]:
    return list(dict.fromkeys(one.layer for one in adapted_in(shape, block, config.lora)))
