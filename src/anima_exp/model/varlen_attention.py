"""Compute attention over packed rows, in which no row attends to another, without a mask.

transformers detects packed rows by itself, but then builds a mask of T x T for T tokens, and with a
key-value cache it ignores the rows. So the row borders are passed to an attention function here.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from anima_exp.data.micro_batch import MicroBatch
from anima_exp.errors import ModelError
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.torch_internals import variable_length_attention, varlen_options
from anima_exp.libraries.transformers_internals import (
    attention_by,
    attention_of,
    changes_attention,
    chunk_of,
)
from anima_exp.model.hashed_dropout import KEYS
from anima_exp.model.row_mixers import Rows, by_row, mixers

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


_NAME = "rows_apart"
_OBSTACLE = "why_rows_are_not_packed"
_CALLS: Counter[str] = Counter()
_MIXERS = "modules_that_mix_tokens"
_OWN_BORDERS = ("flash_attention",)  # transformers' functions that take the borders directly


class BordersLost(ModelError):
    """An architecture computes attention in a way that rows cannot be packed for."""


def supports_packing(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether packed rows can be computed with an attention function of ours.

    If not, a micro-batch is one row and uses the architecture's own attention.
    """
    return packing_obstacle(model) is None


def packing_obstacle(model: "PreTrainedModel | PeftModel") -> str | None:
    """Return why rows of this model cannot be packed, in one phrase; None if they can.

    architecture_check.py finds it when the model is loaded.
    """
    found: str | None = getattr(base_of(model), _OBSTACLE, None)
    return found


@contextmanager
def count_attention() -> Iterator[Counter[str]]:
    """Count inside how often attention over packed rows is computed by our function."""
    _CALLS.clear()
    yield _CALLS


def disable_packing(model: "PreTrainedModel | PeftModel", why: str) -> None:
    """Compute every row as its own micro-batch from now on.

    Args:
        why: the obstacle that `packing_obstacle` returns.
    """
    setattr(base_of(model), _OBSTACLE, why)


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Inside, run forward and backward passes on packed rows; pass `borders` to the forward."""
    config = model.config.get_text_config()
    with without_cudnn_attention(model.device):
        if not supports_packing(model):
            yield
            return
        base = base_of(model)
        if not hasattr(base, _MIXERS):
            setattr(base, _MIXERS, (mixers(base), Rows()))
        modules, rows = getattr(base, _MIXERS)
        rows.dropout = getattr(base, KEYS, None)
        own = attention_of(config).startswith(_OWN_BORDERS)
        replaced = nullcontext() if own else attention_by(config, _NAME, _attention)
        with replaced, by_row(modules, rows):
            yield


@contextmanager
def without_cudnn_attention(where: torch.device) -> Iterator[None]:
    """Inside, turn off cuDNN attention, so that a new length costs no preparation.

    On Hopper and newer GPUs torch prefers cuDNN, which builds a plan for each new shape. Reports
    name 0.1 to 0.4 s per plan. Rows have many lengths, and a growing answer has a new one for each
    token.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    if where.type != "cuda" or not before:
        yield
        return
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def needs_our_attention(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether only our attention function can keep packed rows apart.

    FlashAttention gets the borders, and a model without attention is computed by its mixers.
    """
    config = model.config.get_text_config()
    return not (
        attention_of(config).startswith(_OWN_BORDERS) or getattr(base_of(model), _MIXERS)[0]
    )


def borders(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> dict[str, Any]:
    """Return the arguments of the model's forward pass that describe the packed rows."""
    if not supports_packing(model):  # so the micro-batch is one row
        return {}
    getattr(base_of(model), _MIXERS)[1].lengths = batch.lengths
    if attention_of(model.config.get_text_config()) == _NAME:
        return {"micro_batch": batch}
    longest = max(batch.lengths)
    return {  # transformers' names
        "cu_seq_lens_q": batch.starts,
        "cu_seq_lens_k": batch.starts,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def rows_apart(model: "PreTrainedModel | PeftModel") -> str:
    """Return in one clause what keeps the rows of a micro-batch apart."""
    if not supports_packing(model):
        return "each row is computed alone"
    if attention_of(model.config.get_text_config()).startswith(_OWN_BORDERS):
        return "rows are kept apart by flash-attn's row borders"
    if model.device.type == "cuda" and varlen_options():
        return "rows are kept apart by their borders, in one variable-length attention"
    return "rows are kept apart, as attention computes them one by one"


def slow_attention(where: torch.device) -> str | None:
    """Return a warning if an old torch is slow on a GPU; None otherwise."""
    if where.type != "cuda" or varlen_options():
        return None
    return (
        "this torch has no attention over rows of different lengths, so rows are computed one by "
        "one: torch>=2.10 is faster"
    )


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    micro_batch: MicroBatch | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Compute attention over packed rows for transformers.

    `query` [1, heads, T, D], `key` and `value` [1, kv heads, T, D] -> [1, T, heads, D].
    """
    _CALLS["attention"] += 1
    if micro_batch is None:
        raise BordersLost("it does not pass the row borders to its attention")
    if attention_mask is not None:
        raise BordersLost("it makes a mask of its own")
    if strange := sorted(key for key, value in more.items() if changes_attention(key, value)):
        raise BordersLost(f"its attention takes {', '.join(strange)}")
    if key.shape[2] != query.shape[2]:
        raise BordersLost("its attention reads other tokens")
    lengths, starts = micro_batch.lengths, micro_batch.starts
    if (chunk := chunk_of(module)) and chunk < max(lengths):
        lengths = tuple(
            min(chunk, length - start) for length in lengths for start in range(0, length, chunk)
        )
        starts = starts.new_tensor([0, *accumulate(lengths)])
    longest = max(lengths)
    window = sliding_window if sliding_window and sliding_window < longest else None
    if softcap is not None or s_aux is not None:
        scores = partial(_own_scores, softcap=softcap, sinks=s_aux)
        # Otherwise the scores of all rows would be kept for the backward pass.
        attend = partial(checkpoint, scores, use_reentrant=False, preserve_rng_state=dropout > 0)
        return _row_by_row(query, key, value, lengths, scaling, dropout, window, attend), None
    if not dropout and _varlen_takes(query, value, window):
        return variable_length_attention(query, key, value, starts, longest, scaling, window), None
    return _row_by_row(query, key, value, lengths, scaling, dropout, window), None


def _row_by_row(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: tuple[int, ...],
    scaling: float | None,
    dropout: float,
    window: int | None,
    attend: Callable[..., Tensor] = scaled_dot_product_attention,
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    found = [
        attend(
            q,
            k,
            v,
            attn_mask=None if window is None else _band(q.shape[2], window, q.device),
            is_causal=window is None,
            dropout_p=dropout,
            scale=scaling,
        )
        for q, k, v in zip(
            *(torch.split(x, list(lengths), 2) for x in (query, key, value)), strict=True
        )
    ]
    return torch.cat(found, dim=2).transpose(1, 2).contiguous()


def _own_scores(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None,
    is_causal: bool,
    dropout_p: float,
    scale: float | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Compute attention with capped scores (Gemma 2), or with a sink among the keys (GPT-OSS).

    torch's own attention knows neither. T x T scores of one row exist at a time.
    """
    length = query.shape[2]
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    seen = _band(length, length, query.device) if attn_mask is None else attn_mask
    scores = scores.float().masked_fill(~seen, -torch.inf)
    if sinks is not None:
        sink = sinks.float().view(1, -1, 1, 1).expand(1, -1, length, 1)
        scores = torch.cat([scores, sink], dim=-1)
    shares = scores.softmax(dim=-1)[..., :length].to(value.dtype)
    return torch.dropout(shares, dropout_p, train=dropout_p > 0) @ value


def _band(length: int, window: int, device: torch.device) -> Tensor:
    """Return a mask [length, length], true for a token itself and the `window` - 1 before it."""
    position = torch.arange(length, device=device)
    behind = position[:, None] - position
    return (behind >= 0) & (behind < window)


def _varlen_takes(query: Tensor, value: Tensor, window: int | None) -> bool:
    """Return whether torch's FlashAttention takes these: 16 bits, on an Ampere or newer GPU."""
    width = query.shape[-1]
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and width == value.shape[-1]
        and width % 8 == 0
        and width <= 256
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and bool(varlen_options())
        and (window is None or "window_size" in varlen_options())
    )
