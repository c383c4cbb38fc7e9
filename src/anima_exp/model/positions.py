"""Describe how a loaded model knows the position of a token: RoPE with its type and factor."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from anima_exp.libraries.transformers_rope import rope_settings, rotary_parts
from anima_exp.model.base_config import context_length

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def positions_line(model: "PreTrainedModel | PeftModel") -> str:
    """Return the positions in force in one line: `RoPE linear, factor 4, theta 10,000, ...`."""
    context = context_length(model.config)
    reach = f"up to {context:,} tokens" if context else "no limit in config.json"
    if not rotary_parts(model):
        return f"{_without_rope(model)}, {reach}"
    settings = rope_settings(model.config.get_text_config())
    texts = {where: _rope(one) for where, one in settings.items()}
    if len(set(texts.values())) == 1:
        return f"RoPE {next(iter(texts.values()))}, {reach}"
    kinds = "; ".join(f"{where.replace('_', ' ')}: {text}" for where, text in texts.items())
    return f"RoPE {kinds or 'without settings'}, {reach}"


def _rope(settings: Mapping[str, Any]) -> str:
    kind = str(settings.get("rope_type", "default"))
    parts = [kind]
    if factor := settings.get("factor"):
        parts.append(f"factor {factor:g}")
    if original := settings.get("original_max_position_embeddings"):
        parts.append(f"original context {original:,}")
    if theta := settings.get("rope_theta"):
        parts.append(f"theta {theta:,.0f}")
    if (share := settings.get("partial_rotary_factor", 1.0)) != 1.0:
        parts.append(f"on {share:.0%} of each head")
    return ", ".join(parts)


_TABLE = re.compile(r"(^|\.)(wpe|embed_positions|position_embeddings?)\.weight$")


def _without_rope(model: "PreTrainedModel | PeftModel") -> str:
    if any(_TABLE.search(name) for name, _ in model.named_parameters()):
        return "learned positions"
    config = model.config.get_text_config()
    if getattr(config, "alibi", False) or getattr(config, "model_type", "") in ("bloom", "mpt"):
        return "ALiBi"
    return "no positions of its own"


def frequencies(part: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the buffers of a rotary module that hold its frequencies [head_dim / 2]."""
    for name, buffer in part.named_buffers(recurse=False):
        if name.endswith("inv_freq") and not name.endswith("original_inv_freq"):
            yield name, buffer
