"""Select the layers that get an adapter from a model's shape, each with its rank."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from anima_exp.config import LoraConfig, TargetModules
from anima_exp.config.lora_checks import is_pattern, ranks
from anima_exp.errors import ModelError
from anima_exp.model.target_modules import Linear, check_names, rank_of, select
from anima_exp.planner.shape import Block, Shape


class Adapted(NamedTuple):
    """A layer with an adapter, in one or several blocks."""

    layer: Linear
    rank: int
    blocks: int  # the number of blocks that have it


def adapted_layers(shape: Shape, lora: LoraConfig) -> list[Adapted]:
    """Return the layers that get an adapter.

    Raises:
        ModelError: if a name or a pattern matches no layer, or there are no such layers.
    """
    if lora.target_modules is TargetModules.none:
        return []
    blocks = shape.blocks
    every = [
        layer.name
        for block in blocks
        for number in _numbers(block)
        for layer in _named(shape, block, number)
    ]
    check_names(replace(lora, rank_pattern=None, alpha_pattern=None), every, every)
    found = [one for block in blocks for one in adapted_in(shape, block, lora)]
    if not found:
        leaves = ", ".join(sorted({one.rpartition(".")[2] for one in every}))
        raise ModelError(
            f"lora.target_modules={lora.target_modules.value} matches none of the layers {leaves}. "
            "Use lora=all_linear."
        )
    return found


def check_layers(shape: Shape, lora: LoraConfig) -> None:
    """Raise ModelError if a name or a pattern of the adapter's settings matches no layer."""
    names = [
        layer.name
        for block in shape.blocks
        for number in _numbers(block)
        for layer in select(
            _named(shape, block, number),
            lora.target_modules,
            hidden=shape.hidden,
            names=lora.modules,
        )
    ]
    if adapted_layers(shape, lora):
        check_names(replace(lora, modules=None), names, names)


def adapted_in(shape: Shape, block: Block, lora: LoraConfig) -> list[Adapted]:
    """Return the layers of some equal blocks that get an adapter."""
    numbers: Iterable[int] = _numbers(block)
    if not any(map(_depends_on_the_block, (*(lora.modules or ()), *ranks(lora)))):
        numbers = [block.first]
    found: Counter[tuple[Linear, int]] = Counter()
    for number in numbers:
        layers = _named(shape, block, number)
        chosen = select(layers, lora.target_modules, hidden=shape.hidden, names=lora.modules)
        inside = dict(zip((one.name for one in layers), block.linears, strict=True))
        for layer in chosen:
            found[inside[layer.name], rank_of(layer.name, lora)] += 1
    times = block.count if numbers == [block.first] else 1
    return [Adapted(layer, rank, count * times) for (layer, rank), count in found.items()]


def _depends_on_the_block(name: str) -> bool:
    return is_pattern(name) or any(map(str.isdigit, name))


def _numbers(block: Block) -> Iterator[int]:
    yield from range(block.first, block.first + block.count)


def _named(shape: Shape, block: Block, number: int) -> list[Linear]:
    """Return the layers of a block under their full names."""
    return [replace(one, name=f"{shape.prefix}{number}.{one.name}") for one in block.linears]
