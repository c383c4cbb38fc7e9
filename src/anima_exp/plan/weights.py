"""Shape and RunConfig -> the bytes of the base's weights, kind by kind."""

from collections.abc import Iterable
from dataclasses import dataclass

from anima_exp.config import Precision, Quantization, RunConfig, TargetModules
from anima_exp.libraries.bitsandbytes_internals import CONSTANTS_A_CONSTANT, WEIGHTS_A_CONSTANT
from anima_exp.model.layer_sets import Linear
from anima_exp.plan.shape import Block, Shape

WIDTH = {Precision.fp32: 4, Precision.bf16: 2, Precision.fp16: 2}  # bytes


@dataclass(frozen=True)
class Stored:
    """One kind of weights. A lookup table of 1 KiB a matrix is left out."""

    kind: str
    elements: int
    values: int  # bytes of the weights themselves
    first: int = 0  # bytes of the quantisation constants, by which weights are scaled
    second: int = 0  # bytes of the constants of these constants

    @property
    def total(self) -> int:
        return self.values + self.first + self.second


def base_weights(shape: Shape, config: RunConfig) -> list[Stored]:
    """Every kind that the model has."""
    full = config.lora.target_modules is TargetModules.none
    width = 4 if full else WIDTH[config.trainer.precision]  # a small update to bf16 is lost
    norm_width = 4 if config.model.norms_in_fp32 else width
    matrices = [(one, block.count) for block in shape.blocks for one in block.linears]
    norms = shape.norms + sum(block.count * block.norms for block in shape.blocks)
    biases = sum(count * one.outputs for one, count in matrices if one.bias)
    other = shape.other + biases + sum(block.count * block.other for block in shape.blocks)
    kinds = [
        _matrices("attention", [m for m in matrices if m[0].attention], config, width),
        _matrices("feed-forward", [m for m in matrices if not m[0].attention], config, width),
        Stored("embeddings", shape.embeddings, shape.embeddings * width),
        Stored("head", shape.head, shape.head * width),
        Stored("norms", norms, norms * norm_width),
        Stored("other", other, other * width),
    ]
    return [kind for kind in kinds if kind.elements]


def block_bytes(shape: Shape, block: Block, config: RunConfig) -> int:
    """Of the weights of one such block."""
    return sum(kind.total for kind in base_weights(shape.only(block), config))


def split_bytes(shape: Shape, config: RunConfig, *blocks: Block) -> int:
    """Of these blocks, or all: what processes split. Each keeps all quantisation constants."""
    return sum(
        block.count * sum(kind.values for kind in base_weights(shape.only(block), config))
        for block in blocks or shape.blocks
    )


def dequantized_copy(shape: Shape, config: RunConfig) -> int:
    """Bytes of all 4-bit matrices in the type that they are computed in."""
    return shape.linear_weights * WIDTH[config.quant.compute_dtype]


def _matrices(
    kind: str, matrices: Iterable[tuple[Linear, int]], config: RunConfig, width: int
) -> Stored:
    elements = values = first = second = 0
    for matrix, count in matrices:
        elements += count * matrix.weights
        stored = _stored(matrix, config, width)
        values, first, second = (
            total + count * one for total, one in zip((values, first, second), stored, strict=True)
        )
    return Stored(kind, elements, values, first, second)


def _stored(matrix: Linear, config: RunConfig, width: int) -> tuple[int, int, int]:
    quant = config.quant
    if quant.type is Quantization.none:
        return matrix.weights * width, 0, 0
    if quant.type is Quantization.int8:
        return matrix.weights, 4 * matrix.outputs, 0  # a scale for each row
    values = -(-matrix.weights // 2)
    constants = -(-matrix.weights // WEIGHTS_A_CONSTANT)
    if not quant.double_quant:
        return values, 4 * constants, 0
    # Of the constants their mean is taken off first; it is one number more.
    return values, constants, 4 * -(-constants // CONSTANTS_A_CONSTANT) + 4
