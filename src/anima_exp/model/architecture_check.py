"""A model just loaded -> what its architecture allows, tried on two short rows.

Architectures are many, and some mix tokens beside attention or do more to their logits than a
product. Guessing by name would train some of them on wrong numbers without a word.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch, pack_rows
from anima_exp.errors import ModelError
from anima_exp.model.base_config import context_length
from anima_exp.model.chunked_loss import head_of, logits_of
from anima_exp.model.forward import base_of, hidden_states
from anima_exp.model.varlen_attention import (
    BordersLost,
    disable_packing,
    packed_attention,
    supports_packing,
)

_LENGTHS = (5, 7)
_LEAK = 1e-2  # of a state's length; two passes of one shape differ by nothing, or by an expert's
_ROUNDING = 1e-1  # of the logits' length, in 16 bits or LLM.int8()


def probe_architecture(model: Any, *, rounds_together: bool = False) -> None:
    """Mark a model whose rows see each other, so that each is computed alone.

    Args:
        rounds_together: LLM.int8() rounds a column by all rows in it, which is no leak.

    Raises:
        ModelError: its logits are not what ours would be.
    """
    with torch.no_grad():
        try:
            # LLM.int8() would look like a leak, so there only the pass itself is tried.
            apart = not _rows_see_each_other(model) or rounds_together
        except BordersLost:
            apart = False
        if not apart:
            disable_packing(model)
        _check_head(model)


def _rows_see_each_other(model: Any) -> bool:
    """Whether other tokens in the first row change anything in the second.

    Raises:
        BordersLost: the architecture does not take them.
    """
    if not supports_packing(model):
        return True
    first, length = _LENGTHS[0], sum(_LENGTHS)
    one = short_batch(model, *_LENGTHS)
    ids = one.ids.clone()
    ids[0, :first] = ids[0, :first].flip(0)
    with packed_attention(model):
        before, after = (
            hidden_states(model, batch)[0, first:length].float()
            for batch in (one, replace(one, ids=ids))
        )
    apart = (before - after).norm(dim=-1) / before.norm(dim=-1).clamp_min(1e-6)
    return bool(apart.max() > _LEAK)


def _check_head(model: Any) -> None:
    batch = short_batch(model, _LENGTHS[0])
    with packed_attention(model):
        ours = logits_of(hidden_states(model, batch)[0], head_of(model))
    theirs: Tensor = model(input_ids=batch.ids, use_cache=False).logits[0].float().to(ours.device)
    if not theirs.isfinite().any():
        raise ModelError(
            f"{model.config.name_or_path}: the base model computes no finite logit. Its weights "
            "are damaged, or too large for trainer.precision. Try trainer.precision=fp32."
        )
    apart = float((ours - theirs).norm() / theirs.norm())
    if apart > _ROUNDING:  # not so where either is no number: fp16 overflows on some models
        raise ModelError(
            f"{model.config.name_or_path}: {type(model).__name__} computes its logits in a way "
            f"that is not supported (ours differ by {100 * apart:.0f} %), so the loss would be "
            "wrong. Use another model."
        )


def short_batch(model: Any, *lengths: int) -> MicroBatch:
    vocabulary = model.config.get_text_config().vocab_size
    rows = []
    for start, length in enumerate(lengths):
        ids = (torch.arange(length) * 7 + 11 * (start + 1)) % vocabulary
        rows.append({"input_ids": ids.numpy(), "labels": ids.numpy()})
    return pack_rows(rows, range(len(rows)), [1.0] * len(rows)).to(model.device)


# Try once whether a model's output for a row depends on the padding before it.
#
# Most families mask padding and take positions from outside. Some read positions from the mask or
# the cache, and RWKV has no mask at all: their rows are then computed without padding.


_KNOWN = "masks_padding"
_SHORT, _LONG = 8, 32  # tokens of the two rows
_PADDING_ROUNDING = (
    5e-2  # of the length of the centred logits; a wrong position changes several times that
)


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
    return bool(((one - other).norm(dim=-1) <= _PADDING_ROUNDING * size).all())


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
