"""Find settings of a model's config that change no logit, such as a RoPE factor set too late.

Each setting is changed for a moment, and two short rows are computed with and without the change.
If their logits are equal, the model ignores the setting, and a run would compute something else
than its config says.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anima_exp.config import Fault
from anima_exp.errors import ModelError
from anima_exp.events import say
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.transformers_rope import rope_settings, rope_types, rotary_parts
from anima_exp.model.architecture_check import short_batch
from anima_exp.model.base_config import context_length
from anima_exp.model.chunked_loss import head_of, logits_of
from anima_exp.model.forward import decoder_of, hidden_states
from anima_exp.model.positions import frequencies
from anima_exp.model.varlen_attention import (
    disable_packing,
    packed_attention,
    supports_packing,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel

Pass = Callable[[int], list[Tensor]]  # distance of positions -> logits of the rows

_LENGTHS = (5, 7)
_FAR = 4096  # positions of a row without a known context reach about as far
# A value that changes the logits of rows of 5 and 7 tokens if anything reads it.
_OTHERS: dict[str, Callable[[float], float]] = {
    "sliding_window": lambda value: 2 if value != 2 else 3,
    "attention_chunk_size": lambda value: 2 if value != 2 else 3,
    "attn_logit_softcapping": lambda value: value / 1000,
    "final_logit_softcapping": lambda value: value / 1000,
}
_DEPENDS_ON_LENGTH = ("dynamic", "longrope")  # short rows are computed without a factor


def check_settings(model: "PreTrainedModel | PeftModel", accept: Sequence[Fault] = ()) -> None:
    """Check that each setting of the config changes the logits, and say so if one does not.

    Call it with autocast as in training.

    Raises:
        ModelError: if a setting is ignored, unless `accept` has `ignored_settings`.
    """
    with torch.no_grad():
        ignored = list(_ignored(base_of(model)))
    if not ignored:
        return
    settings = " and ".join(ignored)
    if Fault.ignored_settings not in accept:
        raise ModelError(
            f"model.source={model.config.name_or_path}: {settings} in its config "
            f"changes no logit of {type(base_of(model)).__name__}, which ignores it. Remove it "
            "from config.json, or accept it with model.accept=[ignored_settings]."
        )
    say(f"base     accepted: {settings} in the config changes no logit")


def _ignored(model: "PreTrainedModel") -> Iterator[str]:
    config = model.config.get_text_config()
    before = [one(1) for one in _passes(model)] if _numbers(config) else []
    for name, value in _numbers(config).items():
        with _changed(model, config, name, value):
            after = [one(1) for one in _passes(model)]
        ignored = [*map(_equal, before, after)]
        if ignored == [False, True]:  # the model makes a mask of it, which packed rows do without
            disable_packing(model, f"its attention is not given the {name}")
        elif any(ignored):
            yield f"{name}={value:g}"
    for where, settings in rope_settings(config).items():
        kind = str(settings.get("rope_type", "default"))
        factor = settings.get("factor")
        if (
            kind == "default"
            or factor == 1
            or not type(model).__module__.startswith("transformers")
        ):
            continue  # custom code may compute positions in any way
        if not _rope_in_force(model, where, settings):
            of_layers = f" of {where}" if where else ""
            yield f"RoPE {kind}{f' with factor {factor:g}' if factor else ''}{of_layers}"


def _numbers(config: "PreTrainedConfig") -> dict[str, float]:
    """Return the settings to try.

    A window that no layer has, by `layer_types`, or that no row can fill, is not meant.
    """
    kinds = getattr(config, "layer_types", None)
    found = {name: getattr(config, name, None) for name in _OTHERS}
    if kinds and "sliding_attention" not in kinds:
        found.pop("sliding_window")
    if kinds and "chunked_attention" not in kinds:
        found.pop("attention_chunk_size")
    most = context_length(config) or math.inf
    return {
        name: value
        for name, value in found.items()
        if value and not (name in ("sliding_window", "attention_chunk_size") and value >= most)
    }


def _rope_in_force(model: "PreTrainedModel", where: str, settings: Mapping[str, Any]) -> bool:
    kind = str(settings["rope_type"])
    parts = rotary_parts(decoder_of(model))
    if not parts or any(rope_types(one).get(where) == "default" for one in parts):
        return False
    if kind in _DEPENDS_ON_LENGTH:
        return True
    theta = float(settings.get("rope_theta") or 1e4)
    if all(torch.allclose(one, _plain(one, theta), rtol=1e-3) for one in _buffers(parts, where)):
        return False
    context = context_length(model.config) or _FAR
    apart = max(context // max(_LENGTHS), 1)
    before = [one(apart) for one in _passes(model)]
    with _without_factor(parts, where, theta):
        after = [one(apart) for one in _passes(model)]
    return not any(map(_equal, before, after))


def _passes(model: "PreTrainedModel") -> list[Pass]:
    """Return the ways in which rows are computed: transformers' own, and packed as in training."""
    rows = [short_batch(model, length) for length in _LENGTHS]

    def alone(apart: int) -> list[Tensor]:
        return [
            model(
                input_ids=row.ids,
                attention_mask=torch.ones_like(row.ids),
                use_cache=False,
                **({"position_ids": row.positions * apart} if apart > 1 else {}),
            ).logits[0]
            for row in rows
        ]

    def packed(apart: int) -> list[Tensor]:
        batch = short_batch(model, *_LENGTHS)
        batch = replace(batch, positions=batch.positions * apart)
        with packed_attention(model):
            hidden = hidden_states(model, batch)[0, : sum(_LENGTHS)]
        return list(torch.split(logits_of(hidden, head_of(model)), [*_LENGTHS]))

    return [alone, packed] if supports_packing(model) else [alone]


@contextmanager
def _changed(
    model: nn.Module, config: "PreTrainedConfig", name: str, value: float
) -> Iterator[None]:
    """Inside, give the config, and each module that has copied the setting, another value."""
    holders = [config, *(one for one in model.modules() if vars(one).get(name) == value)]
    for one in holders:
        setattr(one, name, type(value)(_OTHERS[name](value)))
    try:
        yield
    finally:
        for one in holders:
            setattr(one, name, value)


@contextmanager
def _without_factor(parts: Sequence[nn.Module], where: str, theta: float) -> Iterator[None]:
    """Inside, compute rotary positions without scaling."""
    kept = [(one, one.clone()) for one in _buffers(parts, where)]
    for buffer, _ in kept:
        buffer.copy_(_plain(buffer, theta))
    try:
        yield
    finally:
        for buffer, values in kept:
            buffer.copy_(values)


def _buffers(parts: Sequence[nn.Module], where: str) -> list[Tensor]:
    """Return the frequencies of one type of layer."""
    names = (f"{where}_inv_freq", "inv_freq")
    return [buffer for part in parts for name, buffer in frequencies(part) if name in names]


def _plain(frequencies: Tensor, theta: float) -> Tensor:
    """Return the frequencies without scaling: theta^(-2 i / d) for d / 2 of them."""
    exponents = torch.arange(len(frequencies), device=frequencies.device) / len(frequencies)
    return (theta**-exponents).to(frequencies.dtype)


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
