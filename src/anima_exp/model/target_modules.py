"""Select the linear layers of a layer set of the paper, by name and size and without torch.

The selection follows the architecture and not a list of model families. In each decoder block, the
module that holds a linear layer decides whether it belongs to attention or to the feed-forward
part. The feed-forward output is the layer whose output has the hidden size.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from anima_exp.config import LoraConfig, TargetModules
from anima_exp.config.lora_checks import alphas, full_expression, is_pattern, ranks
from anima_exp.errors import ModelError

_KEY_OR_QUERY = re.compile(r"^(q|k|query|key|wq|wk)(_?proj|_?lin|_layer)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Linear:
    """One linear layer inside a decoder block."""

    name: str  # model.layers.0.mlp.down_proj, or inside its block mlp.down_proj
    inputs: int
    outputs: int
    attention: bool  # else feed-forward
    bias: bool = False
    seen: bool = True  # whether text passes through it: not in a vision or audio tower
    router: bool = False  # whether it chooses among experts, or weighs a shared one

    @property
    def holder(self) -> str:
        """The name of the module that holds it: model.layers.0.mlp"""
        return self.name.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def weights(self) -> int:
        """Elements of its matrix."""
        return self.inputs * self.outputs


L = TypeVar("L", bound=Linear)
N = TypeVar("N", int, float)


def select(
    layers: Sequence[L],
    which: TargetModules,
    *,
    hidden: int,
    names: Sequence[str] | None = None,
) -> list[L]:
    """Return the layers of set `which` (QLoRA, Appendix A.1), in their order.

    Text trains no layer of a vision or audio tower, so those get no adapter. Nor do routers, unless
    they are named: a small change of them sends tokens to other experts.

    Args:
        names: for `TargetModules.named`, ends of names such as `q_proj` or `self_attn.q_proj`, or
            regular expressions. See `is_named`.
    """
    named = which is TargetModules.named
    layers = [layer for layer in layers if layer.seen and (named or not layer.router)]
    outputs = _feed_forward_outputs(layers, hidden=hidden)
    sets: dict[TargetModules, Callable[[L], object]] = {
        TargetModules.all_linear: lambda layer: True,
        TargetModules.attention: lambda layer: layer.attention,
        TargetModules.key_query: lambda layer: layer.attention and _KEY_OR_QUERY.match(layer.leaf),
        TargetModules.ffn: lambda layer: not layer.attention,
        TargetModules.attention_ffn_out: lambda layer: layer.attention or layer.name in outputs,
        TargetModules.named: lambda layer: any(is_named(layer.name, one) for one in names or ()),
        TargetModules.none: lambda layer: False,
    }
    return [layer for layer in layers if sets[which](layer)]


def is_named(layer: str, name: str) -> bool:
    """Return whether `name` names a layer, as `q_proj` and `attn.q_proj` name `0.attn.q_proj`.

    A regular expression names the layers whose name it matches as a whole, or after a dot:
    `(q|v)_proj` or `model.layers.(0|1).*`. PEFT reads `rank_pattern` in the same way.
    """
    if is_pattern(name):
        return _compiled(name).match(layer) is not None
    return f".{layer}".endswith(f".{name}")


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(full_expression(pattern))


def by_layer(patterns: dict[str, N], names: Sequence[str]) -> dict[str, N]:
    """Return patterns of which at most one value matches each name.

    PEFT takes the first match, but an adapter's file has the patterns in alphabetical order. So
    patterns that overlap become one entry for each name.
    """
    known = {
        name: [value for pattern, value in patterns.items() if is_named(name, pattern)]
        for name in names
    }
    if all(len(set(values)) <= 1 for values in known.values()):
        return patterns
    return {name: values[0] for name, values in known.items() if values}


def rank_of(layer: str, lora: LoraConfig) -> int:
    """Return the rank of the adapter on the layer of this full name."""
    return _first(layer, ranks(lora), lora.rank)


def alpha_of(layer: str, lora: LoraConfig) -> float:
    """Return the alpha of the adapter on the layer of this full name."""
    return _first(layer, alphas(lora), lora.alpha)


def check_names(lora: LoraConfig, layers: Sequence[str], adapted: Sequence[str]) -> None:
    """Raise ModelError if a name or pattern of the adapter's settings matches no layer.

    Args:
        layers: the full names of all linear layers.
        adapted: of those with an adapter.
    """
    given = {
        "modules": (lora.modules or (), layers, "layer. The linear layers are"),
        "rank_pattern": (ranks(lora), adapted, "layer with an adapter. Those layers are"),
        "alpha_pattern": (alphas(lora), adapted, "layer with an adapter. Those layers are"),
    }
    for key, (names, among, what) in given.items():
        for name in names:
            if not any(is_named(layer, name) for layer in among):
                leaves = ", ".join(sorted({layer.rpartition(".")[2] for layer in among}))
                raise ModelError(f"lora.{key}: {name} matches no {what} {leaves}.")


def _first(layer: str, patterns: Mapping[str, N], otherwise: N) -> N:
    return next((one for name, one in patterns.items() if is_named(layer, name)), otherwise)


def _feed_forward_outputs(layers: Sequence[Linear], *, hidden: int) -> set[str]:
    # If the feed-forward part is as wide as the model, several layers have the hidden size as
    # output. The last one is the feed-forward output.
    last = {
        layer.holder: layer.name
        for layer in layers
        if not layer.attention and layer.outputs == hidden
    }
    return set(last.values())
