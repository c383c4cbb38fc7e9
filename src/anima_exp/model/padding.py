"""Try once whether a model's output for a row depends on the padding before it.

Most families mask padding and take positions from outside. Some read positions from the mask or
the cache, and RWKV has no mask at all: their rows are then computed without padding.
"""

from collections.abc import Sequence
from typing import Any

import torch

from anima_exp.model.base_config import context_length
from anima_exp.model.forward import base_of

_KNOWN = "masks_padding"
_SHORT, _LONG = 8, 32  # tokens of the two rows
_ROUNDING = 5e-2  # of the length of the centred logits; a wrong position changes several times that


def masks_padding(model: Any) -> bool:
    """Whether rows of different lengths may share a batch. Call inside `inference`."""
    base = base_of(model)
    if not hasattr(base, _KNOWN):
        setattr(base, _KNOWN, _try(model))
    return bool(getattr(base, _KNOWN))


def same_logits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether logits [rows, V] are the same but for rounding."""
    one, other = one.float(), other.float()
    size = (other - other.mean(-1, keepdim=True)).norm(dim=-1)
    return bool(((one - other).norm(dim=-1) <= _ROUNDING * size).all())


def some_ids(model: Any, lengths: Sequence[int]) -> list[torch.Tensor]:
    """Rows of these lengths, as long as the model's context allows."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    most = (context_length(model.config) or max(lengths)) - 1
    return [
        (torch.arange(min(length, most)) * 7 + 11 * (number + 1)) % vocabulary
        for number, length in enumerate(lengths)
    ]


def _try(model: Any) -> bool:
    short, long = (one.to(model.device) for one in some_ids(model, (_SHORT, _LONG)))
    padding = len(long) - len(short)
    ids = torch.stack([torch.cat([short.new_zeros(padding), short]), long])
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    how = {"use_cache": False}
    alone = model(input_ids=short[None], **how).logits[:, -1]
    padded = model(input_ids=ids, attention_mask=mask, position_ids=positions, **how).logits
    return same_logits(padded[:1, -1], alone)
