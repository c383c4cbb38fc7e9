"""List a model's linear layers, select those of a layer set of the paper, and count parameters."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from anima_exp.config import TargetModules
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import elements, is_own_layer
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.transformers_experts import expert_modules
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.model.forward import decoder_of
from anima_exp.model.target_modules import Linear, is_named, select

_BLOCK = re.compile(r"^(?P<block>(?:.*\.)?\d+\.)(?P<inside>.+)$")
_ROUTER = re.compile(r"(^|[._])(gate|router)(\.[^.]+)?$")  # mlp.shared_expert_gate, router.gate
# It chooses the tokens that attention reads (DeepSeek V3.2). A choice passes no gradient.
_CHOOSES = re.compile(r"(^|\.)indexer\.")
_UNUSED = "layers_without_text"  # an attribute of the model
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LinearModule(Linear):
    """One linear layer of a model in memory."""

    module: nn.Module
    block: str  # the decoder block that holds it: model.layers.0.
    inside: str  # its name there: mlp.down_proj


def linear_layers(model: nn.Module) -> list[LinearModule]:
    """Return every linear layer of the decoder blocks, in the model's order, without the head."""
    found = []
    text = text_part(model)
    mixtures = tuple(f"{name.rpartition('.')[0]}." for name, *_ in expert_modules(model))
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
                    seen=name.startswith(text) and is_seen(model, name),
                    router=name.startswith(mixtures) and bool(_ROUTER.search(name)),
                    module=module,
                    block=block,
                    inside=inside,
                )
            )
    return found


def is_seen(model: nn.Module, name: str) -> bool:
    """Return whether text passes through the layer, so that an adapter would get a gradient."""
    unused: frozenset[str] = getattr(base_of(model), _UNUSED, frozenset())
    return not _CHOOSES.search(name) and _plain(name) not in unused


@contextmanager
def find_unused(model: nn.Module) -> Iterator[None]:
    """Note the linear layers of `model` that no forward pass inside calls.

    They are towers of other inputs, cross-attention without an encoder, or layers whose weight is
    read directly. A few tokens do not reach every expert, so experts count together.

    Raises:
        ModelError: if a layer gets whole numbers, because the architecture casts its input to the
            type of a quantized weight.
    """
    called: set[str] = set()
    cast: set[str] = set()

    def note(name: str, _: nn.Module, inputs: tuple[object, ...]) -> None:
        called.add(name)
        if any(isinstance(x, torch.Tensor) and not x.is_floating_point() for x in inputs[:1]):
            cast.add(name)

    layers = linear_layers(model)
    hooks = [
        one.module.register_forward_pre_hook(partial(note, _plain(one.name))) for one in layers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if cast:
        raise ModelError(
            f"{type(model).__name__} casts the input of {min(cast)} to the type of its quantized "
            "weight, so its numbers would be wrong. Use quant=none, or another model."
        )
    setattr(base_of(model), _UNUSED, frozenset(_plain(one.name) for one in layers) - called)


def _plain(name: str) -> str:
    """Return the name of a layer without PEFT's part, and without the numbers of experts."""
    name = name.replace(".base_layer", "")
    return re.sub(r"\.\d+(?=\.|$)", ".*", name) if "expert" in name else name


def text_part(model: nn.Module) -> str:
    """Return the name prefix of the modules that text passes through; "" for a text model."""
    base = base_of(model)
    config = getattr(base, "config", None)
    if config is None or config.get_text_config() is config:
        return ""
    decoder = decoder_of(base)
    return next((f"{name}." for name, one in model.named_modules() if one is decoder), "")


def in_block(name: str) -> tuple[str, str]:
    """Split a name into its decoder block ("" outside of blocks) and its name there.

    `model.layers.0.mlp.up_proj` -> `model.layers.0.`, `mlp.up_proj`
    """
    found = _BLOCK.match(name)
    return (found["block"], found["inside"]) if found else ("", name)


def target_modules(
    model: nn.Module, which: TargetModules, names: Sequence[str] | None = None
) -> list[str]:
    """Return the full names of the layers of set `which` (QLoRA, Appendix A.1), in order.

    Raises:
        ModelError: if the architecture has no such layers, for example key and query in one matrix.
    """
    layers = linear_layers(model)
    for name in names or ():
        if not any(is_named(layer.name, name) for layer in layers):
            leaves = ", ".join(sorted({layer.leaf for layer in layers}))
            raise ModelError(
                f"lora.modules: {name} matches no layer. The linear layers are {leaves}."
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
    """Return False for a router based on nn.Linear that returns more than a product (Llama 4)."""
    weight = module.weight
    try:
        with torch.no_grad():
            return isinstance(module(weight.new_zeros(1, module.in_features)), torch.Tensor)
    except RuntimeError:  # its input has another shape: one product for each group (DeepSeek V4)
        return False


def _sizes(module: Any) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return int(module.nx), int(module.nf)


@dataclass(frozen=True)
class Parameters:
    """Counts of a model's parameters, and their bytes by type."""

    trainable: int
    total: int  # 4-bit weights counted one by one
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
    """Count a model's parameters on any device, the meta device included."""
    trainable = total = stored = 0
    sizes: Counter[str] = Counter()
    for parameter in model.parameters():
        numbers = parameter.numel()
        stored += numbers
        sizes[str(parameter.dtype).removeprefix("torch.")] += numbers * parameter.element_size()
        trainable += numbers if parameter.requires_grad else 0
        total += elements(parameter)
    return Parameters(trainable, total, stored, dict(sizes))
