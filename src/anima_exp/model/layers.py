"""A model -> the names of the linear layers that a layer set of the paper stands for.

Found by the architecture, not by a list of model families: inside each decoder block, a linear
layer belongs to the attention or to the feed-forward part by the module that holds it, and the
feed-forward output is the one that leads back to the hidden size.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from anima_exp.config import TargetModules
from anima_exp.errors import ModelError

_BLOCK = re.compile(r"^(?:.*\.)?\d+\.(?P<inside>.+)$")
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_KEY_OR_QUERY = re.compile(r"^(q|k|query|key|wq|wk)(_?proj|_?lin|_layer)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Linear:
    """One linear layer inside a decoder block."""

    name: str  # model.layers.0.mlp.down_proj
    holder: str  # model.layers.0.mlp
    module: nn.Module
    attention: bool

    @property
    def leaf(self) -> str:
        return self.name.rpartition(".")[2]


def linear_layers(model: nn.Module) -> list[Linear]:
    """Every linear layer of the decoder blocks, in the model's order; the head is outside them."""
    found = []
    for name, module in model.named_modules():
        block = _BLOCK.match(name)
        if block and _is_linear(module):
            inside = block["inside"].rpartition(".")[0] or block["inside"]
            found.append(
                Linear(name, name.rpartition(".")[0], module, bool(_ATTENTION.search(inside)))
            )
    return found


def target_modules(model: nn.Module, which: TargetModules) -> list[str]:
    """The full names of the layers of set `which` (QLoRA, Appendix A.1), in the model's order.

    Raises:
        ModelError: the architecture has no such layers, e.g. key and query in one matrix.
    """
    layers = linear_layers(model)
    text: Any = model.config
    outputs = _feed_forward_outputs(layers, hidden=int(text.get_text_config().hidden_size))
    sets: dict[TargetModules, Callable[[Linear], object]] = {
        TargetModules.all_linear: lambda layer: True,
        TargetModules.attention: lambda layer: layer.attention,
        TargetModules.key_query: lambda layer: layer.attention and _KEY_OR_QUERY.match(layer.leaf),
        TargetModules.ffn: lambda layer: not layer.attention,
        TargetModules.attention_ffn_out: lambda layer: layer.attention or layer.name in outputs,
        TargetModules.none: lambda layer: False,
    }
    chosen = [layer.name for layer in layers if sets[which](layer)]
    if not chosen:
        leaves = sorted({layer.leaf for layer in layers})
        raise ModelError(
            f"lora.target_modules={which.value} finds no layer in {type(model).__name__}, "
            f"whose linear layers are {', '.join(leaves) or 'none'}. Use lora=all_linear."
        )
    return chosen


def _feed_forward_outputs(layers: list[Linear], *, hidden: int) -> set[str]:
    # Where the feed-forward part is as wide as the model, several layers lead to the hidden size:
    # the last one is the output.
    last = {
        layer.holder: layer.name
        for layer in layers
        if not layer.attention and _outputs(layer.module) == hidden
    }
    return set(last.values())


def _is_linear(module: nn.Module) -> bool:
    # bitsandbytes' Linear4bit and Linear8bitLt are subclasses; GPT-2 keeps its matrices in Conv1D.
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _outputs(module: nn.Module) -> int:
    return int(module.out_features if isinstance(module, nn.Linear) else module.nf)  # type: ignore[arg-type]
