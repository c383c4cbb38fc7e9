"""Count a model's parameters by kind of module, and find how each kind is stored and trained.

The kind follows from names and classes, and not from a list of model families.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor, nn

from anima_exp.libraries.bitsandbytes_internals import elements
from anima_exp.libraries.bitsandbytes_storage import constants_bytes, number_type
from anima_exp.libraries.peft_internals import (
    adapted_place,
    base_of,
    belongs_to_adapter,
    is_trained_copy,
    lora_layers,
    name_in_base,
)
from anima_exp.model.expert_weights import stack_names
from anima_exp.model.linear_layers import in_block, text_part
from anima_exp.results.training_report import Kind, KindCounts

_EXPERTS = re.compile(r"^(local_)?experts?$")
_NORM = re.compile(r"norm|^ln_|^ln\d?$")
# The parts of a parameter's name inside a block. The first pattern that fits one of them decides.
_INSIDE = (
    (Kind.experts, _EXPERTS),
    (Kind.router, re.compile(r"^(router|gate|wg|\w*expert_gate|e_score_correction_bias)$")),
    (Kind.norms, _NORM),
    (Kind.convolution, re.compile(r"conv")),
    (
        Kind.state_space,
        re.compile(r"mamba|mixer$|ssm|linear_attn|delta|time_mix|recurrent|rglru|retention"),
    ),
    (Kind.attention, re.compile(r"attn|attention")),
)


def kind_of(name: str, parameter: Tensor, *, experts: bool) -> Kind:
    """Return the kind of a parameter inside a decoder block, by its name there.

    Args:
        experts: whether the model has experts. Only then is `gate` a router.
    """
    parts = name.lower().split(".")
    for kind, pattern in _INSIDE:
        if kind is Kind.router and not experts:
            continue
        if any(pattern.search(part) for part in parts):
            return kind
    return Kind.feed_forward if parameter.ndim >= 2 or parts[-1] == "bias" else Kind.other


def count_by_kind(model: nn.Module) -> list[KindCounts]:
    """Count the parameters of a model with or without an adapter, in the order of `Kind`.

    An adapter's weights count as trained, in the kind of the layer that they belong to.
    """
    kinds = kinds_of(model)
    stacks = {name_in_base(name) for name in stack_names(base_of(model))}
    counts = {kind: _Counts() for kind in Kind}
    for full, parameter in model.named_parameters():
        name = name_in_base(full)
        if belongs_to_adapter(full):
            counts[_kind_of_layer(name, kinds)].trained += parameter.numel()
        else:
            counts[kinds[name]].add(parameter, copy=is_trained_copy(full))
            matrix = name.endswith(".weight") and parameter.ndim == 2
            if name in stacks or (matrix and kinds[name] not in (Kind.embeddings, Kind.norms)):
                counts[kinds[name]].matrices.add(name.removesuffix(".weight"))
    for name, layer in lora_layers(model):
        place = adapted_place(name_in_base(name), layer)
        counts[_kind_of_layer(place, kinds)].adapted.add(place)
    return [one.result(kind) for kind, one in counts.items() if one.parameters]


def kinds_of(model: nn.Module) -> dict[str, Kind]:
    """Return the kind of each parameter of the base model, by the name that it has there."""
    base = base_of(model)
    names = {name_in_base(name): one for name, one in base.named_parameters()}
    experts = any(_EXPERTS.match(part) for name in names for part in name.split("."))
    tables = {id(one.weight) for one in base.modules() if isinstance(one, nn.Embedding)}
    text, head = text_part(base), _head_name(base)
    found = {}
    for full, parameter in base.named_parameters():
        if belongs_to_adapter(full):
            continue
        name = name_in_base(full)
        block, inside = in_block(name)
        if not in_block(name.removesuffix(".weight"))[0]:
            block = ""  # a list of matrices outside of blocks: altup_projections.0.weight
        if id(parameter) in tables:
            kind = Kind.embeddings
        elif name.rpartition(".")[0] == head:
            kind = Kind.head
        elif not name.startswith(text):
            kind = Kind.tower
        elif block:
            kind = kind_of(inside, parameter, experts=experts)
        else:
            norm = any(_NORM.search(part) for part in name.lower().split("."))
            kind = Kind.norms if norm else Kind.other
        found[name] = kind
    return found


def _head_name(base: nn.Module) -> str:
    """Return the name of the module that computes the logits; "" without one."""
    head = base.get_output_embeddings()  # type: ignore[operator]
    return next((name for name, one in base.named_modules() if one is head), "")


def _kind_of_layer(layer: str, kinds: dict[str, Kind]) -> Kind:
    """Return the kind of a layer, or of experts, whose weights have names of their own."""
    kind = kinds.get(f"{layer}.weight") or kinds.get(layer)
    return kind or next(
        (kind for name, kind in kinds.items() if name.startswith(f"{layer}.")), Kind.other
    )


@dataclass
class _Counts:
    parameters: int = 0
    bytes: int = 0
    trained: int = 0
    stored: Counter[str] = field(default_factory=Counter)
    matrices: set[str] = field(default_factory=set)
    adapted: set[str] = field(default_factory=set)

    def add(self, parameter: Tensor, *, copy: bool) -> None:
        count = elements(parameter)
        if parameter.requires_grad:
            self.trained += count
        if copy:  # of a base module that is trained: the base has it once
            return
        self.parameters += count
        self.stored[number_type(parameter)] += count
        self.bytes += parameter.nbytes + constants_bytes(parameter)

    def result(self, kind: Kind) -> KindCounts:
        return KindCounts(
            kind=kind.value,
            parameters=self.parameters,
            stored=dict(self.stored),
            bytes=self.bytes,
            matrices=len(self.matrices),
            adapted=len(self.adapted),
            trained=self.trained,
        )
