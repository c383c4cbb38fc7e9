"""Try on short rows what a freshly loaded model's architecture allows.

There are many architectures. Some mix tokens outside attention, or transform their logits further.
Deciding by name would train some of them on wrong numbers silently.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch, pack_rows
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.transformers_internals import cache_argument, cache_in
from anima_exp.model.base_config import context_length
from anima_exp.model.chunked_loss import head_of, logits_of
from anima_exp.model.forward import hidden_states
from anima_exp.model.linear_layers import find_unused
from anima_exp.model.varlen_attention import (
    BordersLost,
    count_attention,
    disable_packing,
    needs_our_attention,
    packed_attention,
    packing_obstacle,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


_LENGTHS = (5, 7)
# Relative to a hidden state's norm: what other rows may change, and what another shape may change.
# Two passes of one shape do not differ, except with experts in 16 bits.
_APART_IN_FP32, _APART, _APART_IN_INT8 = (1e-4, 1e-2), (1e-2, 1e-1), (1e-1, 1.0)
_ROUNDING = 1e-1  # relative to the logits' norm, in 16 bits or LLM.int8()


def probe_architecture(
    model: "PreTrainedModel | PeftModel", *, rounds_together: bool = False
) -> None:
    """Turn packing off for a model whose packed rows influence each other, and check its logits.

    Args:
        rounds_together: whether rows influence each other's rounding only, as in LLM.int8(). That
            is not a leak.

    Raises:
        ModelError: if the model's own logits differ from those that the loss uses.
    """
    with torch.no_grad():
        exact = model.dtype is torch.float32 and not torch.is_autocast_enabled(model.device.type)
        apart = _APART_IN_INT8 if rounds_together else _APART_IN_FP32 if exact else _APART
        theirs = _their_logits(model, apart[0])
        if (why := _obstacle(model, *apart)) is not None:
            disable_packing(model, why)
        _check_head(model, theirs)


def _obstacle(model: "PreTrainedModel | PeftModel", leak: float, rounding: float) -> str | None:
    """Return why rows of `model` cannot be packed; None if they can.

    Other tokens in the first row must not change the second row by more than `leak`. The second row
    must not differ from the same row alone by more than `rounding`.
    """
    if why := packing_obstacle(model):
        return why
    if _has_indexer(model):
        return "its indexer chooses among the tokens of all rows"
    first, second = _LENGTHS
    both = short_batch(model, *_LENGTHS)
    flipped = both.ids.clone()
    flipped[0, :first] = flipped[0, :first].flip(0)
    alone = short_batch(model, second, first_row=1)
    try:
        with packed_attention(model), count_attention() as calls:
            before, after, expected = (
                hidden_states(model, batch)[0, -second:].float()
                for batch in (both, replace(both, ids=flipped), alone)
            )
    except BordersLost as error:
        return str(error)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # each architecture has others
        return "its attention cannot be replaced"
    if not calls and needs_our_attention(model):
        return "its attention cannot be replaced"
    if not _same(after, before, leak):
        return "tokens of one row change another row's hidden states"
    if not _same(expected, before, rounding):
        return "a row's hidden states depend on its place among packed rows"
    return None


def _has_indexer(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether attention reads the tokens that a module chooses (DeepSeek V3.2)."""
    return any(name.rpartition(".")[2] == "indexer" for name, _ in model.named_modules())


def _same(one: Tensor, other: Tensor, rounding: float) -> bool:
    """Return whether no hidden state [T, H] differs by more than `rounding` of its norm."""
    apart = (one - other).norm(dim=-1) / other.norm(dim=-1).clamp_min(1e-6)
    return not bool(apart.max() > rounding)  # NaN, as of damaged weights, is reported later


def _their_logits(model: "PreTrainedModel | PeftModel", leak: float) -> Tensor:
    """Return the logits [T, V] of a short row, as the architecture itself computes them.

    Raises:
        ModelError: if it cannot, or if a token's logits depend on later tokens.
    """
    batch, name = short_batch(model, _LENGTHS[0]), type(model).__name__
    if getattr(model.config, "axial_pos_embds", False):
        raise ModelError(
            f"{model.config.name_or_path}: {name} trains on rows of one length only "
            "(axial_pos_shape). Use another model."
        )
    try:
        with find_unused(model):
            logits: Tensor = model(input_ids=batch.ids, use_cache=False).logits[0].float()
            other = torch.cat([batch.ids[:, :-1], batch.ids[:, :1]], dim=1)
            earlier: Tensor = model(input_ids=other, use_cache=False).logits[0, :-1].float()
    except (torch.OutOfMemoryError, ModelError):
        raise
    except Exception as error:  # each architecture has others
        raise ModelError(
            f"{model.config.name_or_path}: {name} fails on a short row of text: "
            f"{first_line(error)} Try quant=none, or use another model."
        ) from error
    if not _same(earlier, logits[:-1], leak):
        raise ModelError(
            f"{model.config.name_or_path}: {name} computes the logits of a token from later tokens "
            "too, so it cannot learn to predict them. Use a model that reads from left to right; "
            "for some, is_decoder=true in config.json makes them one."
        )
    return logits


def _check_head(model: "PreTrainedModel | PeftModel", theirs: Tensor) -> None:
    batch = short_batch(model, _LENGTHS[0])
    with packed_attention(model):
        ours = logits_of(hidden_states(model, batch)[0], head_of(model))
    theirs = theirs.to(ours.device)
    if not theirs.isfinite().any():
        raise ModelError(
            f"{model.config.name_or_path}: the base model computes no finite logit. Its weights "
            "are damaged, or too large for trainer.precision. Try trainer.precision=fp32."
        )
    apart = float((ours - theirs).norm() / theirs.norm())
    if apart > _ROUNDING:  # false if a logit is NaN: fp16 overflows on some models
        raise ModelError(
            f"{model.config.name_or_path}: {type(model).__name__} computes its logits in a way "
            f"that is not supported (ours differ by {100 * apart:.0f} %), so the loss would be "
            "wrong. Use another model."
        )


def short_batch(
    model: "PreTrainedModel | PeftModel", *lengths: int, first_row: int = 0
) -> MicroBatch:
    """Return a micro-batch with rows of these lengths, the same for every call.

    Args:
        first_row: the number of the first of them; rows of other numbers have other tokens.
    """
    vocabulary = model.config.get_text_config().vocab_size
    rows = []
    for start, length in enumerate(lengths, first_row):
        ids = (torch.arange(length) * 7 + 11 * (start + 1)) % vocabulary
        rows.append({"input_ids": ids.numpy(), "labels": ids.numpy()})
    return pack_rows(rows, range(len(rows)), [1.0] * len(rows)).to(model.device)


# Most families mask padding and take positions as an argument. Some read positions from the mask or
# the cache, and RWKV has no mask at all. Their rows are computed without padding.

_KNOWN, _READS_CACHE = "masks_padding", "reads_cache"
_SHORT, _LONG = 8, 32  # tokens of the two rows
# Relative to the norm of the centred logits. A wrong position changes several times as much.
_PADDING_ROUNDING = 5e-2


def reads_cache(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether a text can be continued from its cache. The model is tried once.

    The cache of some families fails, as of transformers 5.23: CPM-Ant's and xLSTM's. They compute
    the whole text again for each token. Call it inside `generation.inference_mode`.
    """
    base = base_of(model)
    if not hasattr(base, _READS_CACHE):
        setattr(base, _READS_CACHE, _try_cache(model))
    return bool(getattr(base, _READS_CACHE))


def _try_cache(model: "PreTrainedModel | PeftModel") -> bool:
    ids = some_ids(model, (_SHORT,))[0][None].to(model.device)
    name = cache_argument(base_of(model))
    try:
        first = model(input_ids=ids[:, :-1], use_cache=True)
        model(input_ids=ids[:, -1:], use_cache=True, **{name: cache_in(first)})
    except torch.OutOfMemoryError:
        raise
    except Exception:  # each architecture has others
        return False
    return True


def masks_padding(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether padded rows give the same logits as rows alone. The model is tried once.

    Call it inside `generation.inference_mode`.
    """
    base = base_of(model)
    if not hasattr(base, _KNOWN):
        setattr(base, _KNOWN, _try(model))
    return bool(getattr(base, _KNOWN))


def same_logits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether logits [rows, vocabulary] are equal up to rounding."""
    one, other = one.float(), other.float()
    size = (other - other.mean(-1, keepdim=True)).norm(dim=-1)
    return bool(((one - other).norm(dim=-1) <= _PADDING_ROUNDING * size).all())


def some_ids(model: "PreTrainedModel | PeftModel", lengths: Sequence[int]) -> list[torch.Tensor]:
    """Return rows of token ids with these lengths, cut to the model's context."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    most = (context_length(model.config) or max(lengths)) - 1
    return [
        (torch.arange(min(length, most)) * 7 + 11 * (number + 1)) % vocabulary
        for number, length in enumerate(lengths)
    ]


def _try(model: "PreTrainedModel | PeftModel") -> bool:
    if _has_indexer(model):  # it may choose padding, in rows longer than those tried here
        return False
    short, long = (one.to(model.device) for one in some_ids(model, (_SHORT, _LONG)))
    padding = len(long) - len(short)
    ids = torch.stack([torch.cat([short.new_zeros(padding), short]), long])
    mask = torch.ones_like(ids)
    mask[0, :padding] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    alone = model(input_ids=short[None], use_cache=False).logits[:, -1]
    padded = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
    ).logits
    if not same_logits(padded[:1, -1], alone):
        return False
    if not reads_cache(model):
        return True
    first = model(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=positions[:, :-1],
        use_cache=True,
    )
    cache = cache_in(first)
    if cache is None:
        return True
    continued = model(
        input_ids=ids[:, -1:],
        attention_mask=mask,
        position_ids=positions[:, -1:],
        use_cache=True,
        **{cache_argument(base_of(model)): cache},
    ).logits
    return same_logits(continued[:1, -1], alone)
