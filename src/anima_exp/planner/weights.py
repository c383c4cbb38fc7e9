"""Compute the bytes of the base model's weights, and of trained weights with their states."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from anima_exp.config import (
    LoraConfig,
    LoraInit,
    LoraVariant,
    OptimizerName,
    Precision,
    Quantization,
    RunConfig,
)
from anima_exp.libraries.bitsandbytes_internals import (
    CONSTANTS_A_CONSTANT,
    LEAST_IN_8_BITS,
    LEAST_PAGED,
    STATES_A_CONSTANT,
    WEIGHTS_A_CONSTANT,
)
from anima_exp.model.target_modules import Linear, is_named
from anima_exp.planner.adapted import adapted_layers
from anima_exp.planner.shape import Block, Experts, Shape

WIDTH = {Precision.fp32: 4, Precision.bf16: 2, Precision.fp16: 2}  # bytes


@dataclass(frozen=True)
class Stored:
    """One kind of weights. A lookup table of 1 KiB per matrix is left out."""

    kind: str
    elements: int
    values: int  # bytes of the weights themselves
    first: int = 0  # bytes of the quantization constants, which scale the weights
    second: int = 0  # bytes of the constants of these constants (double quantization)

    @property
    def total(self) -> int:
        return self.values + self.first + self.second


def base_weights(shape: Shape, config: RunConfig) -> list[Stored]:
    """Return the base model's weights by kind, without kinds that the model lacks."""
    full = config.lora.is_full_finetune
    width = 4 if full else WIDTH[config.trainer.precision]  # a small update to bf16 is lost
    norm_width = 4 if config.model.norms_in_fp32 else width
    matrices = [(one, block.count) for block in shape.blocks for one in block.linears]
    stacks = [(one, block.count) for block in shape.blocks for one in block.experts]
    norms = shape.norms + sum(block.count * block.norms for block in shape.blocks)
    biases = sum(count * one.outputs for one, count in matrices if one.bias)
    other = shape.other + biases + sum(block.count * block.other for block in shape.blocks)
    kinds = [
        _matrices("attention", [m for m in matrices if m[0].attention], config, width),
        _matrices("feed-forward", [m for m in matrices if not m[0].attention], config, width),
        _matrices("experts", stacks, config, width),
        Stored("embeddings", shape.embeddings, shape.embeddings * width),
        Stored("head", shape.head, shape.head * width),
        Stored("norms", norms, norms * norm_width),
        Stored("other", other, other * width),
    ]
    return [kind for kind in kinds if kind.elements]


def block_bytes(shape: Shape, block: Block, config: RunConfig) -> int:
    """Return the bytes of the weights of one such block."""
    return sum(kind.total for kind in base_weights(shape.only(block), config))


def split_bytes(shape: Shape, config: RunConfig, *blocks: Block) -> int:
    """Return the bytes of these blocks (by default all) that FSDP splits.

    Every process keeps all quantization constants.
    """
    return sum(
        block.count * sum(kind.values for kind in base_weights(shape.only(block), config))
        for block in blocks or shape.blocks
    )


def dequantized_copy(shape: Shape, config: RunConfig) -> int:
    """Return the bytes of all 4-bit matrices in quant.compute_dtype."""
    elements = shape.linear_weights + shape.expert_weights
    return elements * WIDTH[config.quant.compute_dtype]


def _matrices(
    kind: str, matrices: Iterable[tuple[Linear | Experts, int]], config: RunConfig, width: int
) -> Stored:
    elements = values = first = second = 0
    for matrix, count in matrices:
        elements += count * matrix.weights
        stored = _stored(matrix, config, width)
        values, first, second = (
            total + count * one for total, one in zip((values, first, second), stored, strict=True)
        )
    return Stored(kind, elements, values, first, second)


def _stored(matrix: Linear | Experts, config: RunConfig, width: int) -> tuple[int, int, int]:
    quant = config.quant
    in_8_bits = quant.type is Quantization.int8
    if quant.type is Quantization.none or (in_8_bits and isinstance(matrix, Experts)):
        return matrix.weights * width, 0, 0
    if in_8_bits:
        return matrix.weights, 4 * matrix.outputs, 0  # a scale for each row
    values = -(-matrix.weights // 2)
    constants = -(-matrix.weights // WEIGHTS_A_CONSTANT)
    if not quant.double_quant:
        return values, 4 * constants, 0
    # The mean of the constants is subtracted first and stored too: 4 bytes more.
    return values, constants, 4 * -(-constants // CONSTANTS_A_CONSTANT) + 4


@dataclass(frozen=True)
class TrainableMemory:
    """Bytes of the trained weights, their gradients and optimizer states."""

    parameters: int  # elements, not bytes
    tensors: int  # a count, not bytes
    weights: int  # of the adapter; 0 if the base model itself is trained
    copies: int  # of A and B in trainer.precision during a step, if that is another type
    gradients: int
    optimizer: int  # states, of which `pageable` move to CPU memory if the GPU is full
    pageable: int

    @property
    def total(self) -> int:
        return self.weights + self.copies + self.gradients + self.optimizer


def trained(shape: Shape, config: RunConfig) -> TrainableMemory:
    """Return the memory of the weights that a run trains."""
    full = config.lora.is_full_finetune
    dtype = Precision.fp32 if full else config.lora.dtype
    product = config.trainer.precision
    sizes = _tensors_of_base(shape) if full else _tensors_of_adapter(shape, config)
    whole = Counter() if full else _whole_modules(shape, config.lora)  # in fp32
    elements, in_fp32 = (sum(size * count for size, count in one.items()) for one in (sizes, whole))
    states = Counter(
        {size: count * _states(size, config, dtype) for size, count in sizes.items()}
    ) + Counter(
        {size: count * _states(size, config, Precision.fp32) for size, count in whole.items()}
    )
    # PiSSA and OLoRA keep A and B as they were at the start, without gradients.
    stored = elements * (2 if config.lora.init in (LoraInit.pissa, LoraInit.olora) else 1)
    paged = config.optimizer.name is not OptimizerName.adamw
    return TrainableMemory(
        parameters=elements + in_fp32,
        tensors=sizes.total() + whole.total(),
        weights=0 if full else stored * WIDTH[dtype] + 4 * in_fp32,
        copies=0 if full or dtype is product else stored * WIDTH[product],
        gradients=elements * WIDTH[dtype] + 4 * in_fp32,
        optimizer=sum(states.values()),
        pageable=sum(n for size, n in states.items() if paged and size >= LEAST_PAGED),
    )


def _tensors_of_adapter(shape: Shape, config: RunConfig) -> Counter[int]:
    """Return how many tensors there are of each size: elements -> count."""
    sizes: Counter[int] = Counter()
    for layer, rank, count in adapted_layers(shape, config.lora):
        sizes[rank * layer.inputs] += count
        sizes[layer.outputs * rank] += count
        if config.lora.variant is LoraVariant.dora:
            sizes[layer.outputs] += count  # the lengths of the rows
    for block in shape.blocks if config.lora.experts else ():
        for stack in block.experts:
            sizes[config.lora.rank * stack.count * stack.inputs] += block.count
            sizes[stack.outputs * stack.count * config.lora.rank] += block.count
    return sizes


def _whole_modules(shape: Shape, lora: LoraConfig) -> Counter[int]:
    """Return the tensors of modules that are trained as a whole.

    Of a module inside the blocks that is no linear layer, only norms are known here, all at once.
    """
    sizes: Counter[int] = Counter()
    tables = {"embed_tokens": shape.embeddings, "lm_head": shape.head}
    names = lora.save_modules or []
    for table, size in tables.items():
        if size and (lora.train_embeddings or any(is_named(table, name) for name in names)):
            sizes[size] += 1
    for name in names:
        linears = [
            (one.weights, block.count)
            for block in shape.blocks
            for one in block.linears
            if is_named(one.name, name)
        ]
        for size, count in linears:
            sizes[size] += count
        if not linears and "norm" in name:
            inside = 0 if name == "norm" else sum(one.count * one.norms for one in shape.blocks)
            sizes[inside or shape.norms] += 1
    return sizes


def _tensors_of_base(shape: Shape) -> Counter[int]:
    # Norms and biases are so small that they can be counted as one tensor.
    sizes = Counter({shape.embeddings: 1})
    sizes[shape.head] += 1
    matrices = shape.embeddings + shape.head
    for block in shape.blocks:
        for linear in block.linears:
            sizes[linear.weights] += block.count
            matrices += block.count * linear.weights
        for stack in block.experts:
            sizes[stack.weights] += block.count
            matrices += block.count * stack.weights
    sizes[shape.parameters - matrices] += 1
    return sizes


def _states(size: int, config: RunConfig, dtype: Precision) -> int:
    """Return the bytes of the two moments of one tensor."""
    name = config.optimizer.name
    if name is OptimizerName.adamw:
        return 2 * size * WIDTH[dtype]
    if name is OptimizerName.paged_adamw_32bit or size < LEAST_IN_8_BITS:
        return 2 * size * 4
    return 2 * (size + 4 * -(-size // STATES_A_CONSTANT))
