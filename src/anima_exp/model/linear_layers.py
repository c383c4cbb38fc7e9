"""A model -> its linear layers, and the names of those that a layer set of the paper stands for."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anima_exp.config import TargetModules
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import elements, is_own_layer
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.model.forward import base_of, decoder_of
from anima_exp.model.target_modules import Linear, is_named, select

_BLOCK = re.compile(r"^(?P<block>(?:.*\.)?\d+\.)(?P<inside>.+)$")
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LinearModule(Linear):
    """One linear layer of a model in memory."""

    module: nn.Module
    block: str  # the decoder block that holds it: model.layers.0.
    inside: str  # its name there: mlp.down_proj


def linear_layers(model: nn.Module) -> list[LinearModule]:
    """Every linear layer of the decoder blocks, in the model's order; the head is outside them."""
    found = []
    text = _text_part(model)
    for name, module in model.named_modules():
        block, inside = in_block(name)
        if block and _is_linear(module):
            inputs, outputs = _sizes(module)
            found.append(
                LinearModule(
                    name,
                    inputs,
                    outputs,
                    attention=bool(_ATTENTION.search(inside.rpartition(".")[0] or inside)),
                    bias=getattr(module, "bias", None) is not None,
                    seen=name.startswith(text),
                    module=module,
                    block=block,
                    inside=inside,
                )
            )
    return found


def _text_part(model: Any) -> str:
    """The beginning of the names of all modules that text passes through; "" for a text model."""
    base = base_of(model)
    config = getattr(base, "config", None)
    if config is None or config.get_text_config() is config:
        return ""
    decoder = decoder_of(base)
    return next((f"{name}." for name, one in model.named_modules() if one is decoder), "")


def in_block(name: str) -> tuple[str, str]:
    """`model.layers.0.mlp.up_proj` -> `model.layers.0.`, `mlp.up_proj`; outside blocks "" first."""
    found = _BLOCK.match(name)
    return (found["block"], found["inside"]) if found else ("", name)


def target_modules(
    model: nn.Module, which: TargetModules, names: Sequence[str] | None = None
) -> list[str]:
    """The full names of the layers of set `which` (QLoRA, Appendix A.1), in the model's order.

    Raises:
        ModelError: the architecture has no such layers, e.g. key and query in one matrix.
    """
    layers = linear_layers(model)
    for name in names or ():
        if not any(is_named(layer.name, name) for layer in layers):
            leaves = ", ".join(sorted({layer.leaf for layer in layers}))
            raise ModelError(
                f"lora.layers: {name} matches no layer. The linear layers are {leaves}."
            )
    text: Any = model.config
    hidden = int(text.get_text_config().hidden_size)
    chosen = [layer.name for layer in select(layers, which, hidden=hidden, names=names)]
    if not chosen:
        leaves = ", ".join(sorted({layer.leaf for layer in layers}))
        raise ModelError(
            f"lora.target_modules={which.value} matches no layer of {type(model).__name__}, "
            f"whose linear layers are {leaves or 'none'}. Use lora=all_linear."
        )
    return chosen


def _is_linear(module: nn.Module) -> bool:
    # bitsandbytes' Linear4bit and Linear8bitLt are subclasses; GPT-2 keeps its matrices in Conv1D.
    if is_conv1d(module):
        return True
    own = type(module).forward is not nn.Linear.forward
    library = is_own_layer(module)
    return isinstance(module, nn.Linear) and (library or not own or _gives_tensor(module))


def _gives_tensor(module: nn.Linear) -> bool:
    """False for a router that is built on nn.Linear and returns more than a product (Llama 4)."""
    weight = module.weight
    with torch.no_grad():
        return isinstance(module(weight.new_zeros(1, module.in_features)), torch.Tensor)


def _sizes(module: Any) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return int(module.nx), int(module.nf)


# A model -> how many parameters it has, how many learn, and the bytes they take by type.


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
