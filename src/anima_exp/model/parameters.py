"""A model -> how many parameters it has, how many learn, and the bytes they take by type."""

from collections import Counter
from dataclasses import dataclass

from torch import nn

from anima_exp.libraries.bitsandbytes_internals import elements


@dataclass(frozen=True)
class Parameters:
    trainable: int  # parameters that learn
    total: int  # parameters of the model, 4-bit ones counted as they are used
    stored: int  # elements as stored: two 4-bit weights share one (qlora.py prints this)
    bytes_by_dtype: dict[str, int]

    @property
    def base(self) -> int:
        """Parameters of the base model alone."""
        return self.total - self.trainable if self.trainable < self.total else self.total

    @property
    def share(self) -> float:
        return self.trainable / self.total

    @property
    def bytes(self) -> int:
        return sum(self.bytes_by_dtype.values())


def count(model: nn.Module) -> Parameters:
    """Count on any device, the meta device included."""
    trainable = total = stored = 0
    sizes: Counter[str] = Counter()
    for parameter in model.parameters():
        numbers = parameter.numel()
        stored += numbers
        sizes[str(parameter.dtype).removeprefix("torch.")] += numbers * parameter.element_size()
        trainable += numbers if parameter.requires_grad else 0
        total += elements(parameter)
    return Parameters(trainable, total, stored, dict(sizes))
