"""Shape and RunConfig -> what learns, and the bytes of its gradients and optimizer state."""

from collections import Counter
from dataclasses import dataclass

from anima_exp.config import OptimizerName, Precision, RunConfig, TargetModules
from anima_exp.libraries.bitsandbytes_internals import (
    LEAST_IN_8_BITS,
    LEAST_PAGED,
    STATES_A_CONSTANT,
)
from anima_exp.plan.shape import Shape
from anima_exp.plan.weights import WIDTH


@dataclass(frozen=True)
class Trained:
    """What learns. Bytes."""

    parameters: int
    tensors: int
    weights: int  # beside the base's: of the adapter; 0 where the base itself learns
    copies: int  # of A and B in the type of the products, if that is another, during a step
    gradients: int
    optimizer: int  # of these `pageable` move to CPU memory when the device is full
    pageable: int

    @property
    def total(self) -> int:
        return self.weights + self.copies + self.gradients + self.optimizer


def trained(shape: Shape, config: RunConfig) -> Trained:
    full = config.lora.target_modules is TargetModules.none
    dtype = Precision.fp32 if full else config.lora.dtype
    product = config.trainer.precision
    sizes = _tensors_of_base(shape) if full else _tensors_of_adapter(shape, config)
    elements = sum(size * count for size, count in sizes.items())
    states = {size: count * _states(size, config, dtype) for size, count in sizes.items()}
    paged = config.optimizer.name is not OptimizerName.adamw
    return Trained(
        parameters=elements,
        tensors=sizes.total(),
        weights=0 if full else elements * WIDTH[dtype],
        copies=0 if full or dtype is product else elements * WIDTH[product],
        gradients=elements * WIDTH[dtype],
        optimizer=sum(states.values()),
        pageable=sum(n for size, n in states.items() if paged and size >= LEAST_PAGED),
    )


def _tensors_of_adapter(shape: Shape, config: RunConfig) -> Counter[int]:
    """Elements of a tensor -> how many tensors have so many."""
    sizes: Counter[int] = Counter()
    for linear, count in shape.adapted(config.lora.target_modules, config.lora.layers):
        sizes[config.lora.rank * linear.inputs] += count
        sizes[linear.outputs * config.lora.rank] += count
    return sizes


def _tensors_of_base(shape: Shape) -> Counter[int]:
    # Norms and biases are so small that it does not matter how they are divided.
    sizes = Counter({shape.embeddings: 1})
    sizes[shape.head] += 1
    matrices = shape.embeddings + shape.head
    for block in shape.blocks:
        for linear in block.linears:
            sizes[linear.weights] += block.count
            matrices += block.count * linear.weights
    sizes[shape.parameters - matrices] += 1
    return sizes


def _states(size: int, config: RunConfig, dtype: Precision) -> int:
    """Bytes of the two moments of one tensor."""
    name = config.optimizer.name
    if name is OptimizerName.adamw:
        return 2 * size * WIDTH[dtype]
    if name is OptimizerName.paged_adamw_32bit or size < LEAST_IN_8_BITS:
        return 2 * size * 4
    return 2 * (size + 4 * -(-size // STATES_A_CONSTANT))
