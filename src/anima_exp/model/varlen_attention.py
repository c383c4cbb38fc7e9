"""Rows one behind the other -> attention in which no row sees another, without a mask.

transformers finds row borders by itself, but then builds a mask of T x T for T tokens, and with a
key-value cache it ignores them. So the borders are handed to a function of our own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from anima_exp.data.micro_batch import MicroBatch
from anima_exp.libraries.torch_internals import variable_length_attention, varlen_options
from anima_exp.libraries.transformers_internals import (
    attention_by,
    attention_of,
    takes_attention,
)

_NAME = "rows_apart"
_ALONE = "rows_see_each_other"
_OWN_BORDERS = ("flash_attention",)  # transformers' own that take the borders as they are


class BordersLost(Exception):
    """The architecture hands no argument of the forward pass on to its attention."""


def supports_packing(model: Any) -> bool:
    """Whether the architecture takes attention from outside, and one that torch computes.

    Where it does not, a micro-batch is one row, through the architecture's own attention.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    unlike = ("attn_logit_softcapping", "attention_chunk_size")
    return (
        takes_attention(model)
        and not any(getattr(config, what, None) for what in unlike)
        and kinds <= {"full_attention", "sliding_attention"}
        and not getattr(model, _ALONE, False)
    )


def disable_packing(model: Any) -> None:
    """Let every row be a micro-batch, from here on: something beside attention mixes tokens."""
    setattr(model, _ALONE, True)


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Forward and backward passes inside take MicroBatches (pass `borders` to the forward)."""
    config = model.config.get_text_config()
    with without_cudnn_attention(model.device):
        if not supports_packing(model) or attention_of(config).startswith(_OWN_BORDERS):
            yield
            return
        with attention_by(config, _NAME, _attention):
            yield


@contextmanager
def without_cudnn_attention(where: torch.device) -> Iterator[None]:
    """Inside, torch computes attention on a GPU with kernels that take any length as it comes.

    On Hopper and newer GPUs torch prefers cuDNN, which builds a plan for each new shape. Reports
    name 0.1 to 0.4 s a plan. Rows have all lengths, and an answer that grows token by token has a
    new one for each token.
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


def borders(model: Any, batch: MicroBatch) -> dict[str, Any]:
    """What the model's forward is to hand through to its attention."""
    if attention_of(model.config.get_text_config()) == _NAME:
        return {"micro_batch": batch}
    if not supports_packing(model):  # and so there is one row
        return {}
    longest = max(batch.lengths)
    return {  # transformers' names
        "cu_seq_lens_q": batch.starts,
        "cu_seq_lens_k": batch.starts,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def slow_attention(where: torch.device) -> str | None:
    """Return what an old torch costs on a GPU; None otherwise."""
    if where.type != "cuda" or varlen_options():
        return None
    return (
        "this torch has no attention over rows of different lengths, so rows are computed one by "
        "one: torch>=2.10 is faster"
    )


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    micro_batch: MicroBatch | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """`query` [1, heads, T, D], `key` and `value` [1, kv heads, T, D] -> [1, T, heads, D]."""
    if micro_batch is None:
        raise BordersLost
    longest = max(micro_batch.lengths)
    window = sliding_window if sliding_window and sliding_window < longest else None
    if not dropout and _varlen_takes(query, value, window):
        starts = micro_batch.starts
        return variable_length_attention(query, key, value, starts, longest, scaling, window), None
    return _row_by_row(query, key, value, micro_batch.lengths, scaling, dropout, window), None


def _row_by_row(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: tuple[int, ...],
    scaling: float | None,
    dropout: float,
    window: int | None,
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    found = [
        scaled_dot_product_attention(
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


def _band(length: int, window: int, device: torch.device) -> Tensor:
    """[length, length], true where a token may look: itself and `window` - 1 before it."""
    position = torch.arange(length, device=device)
    behind = position[:, None] - position
    return (behind >= 0) & (behind < window)


def _varlen_takes(query: Tensor, value: Tensor, window: int | None) -> bool:
    """Whether torch's FlashAttention is there for these: an Ampere or newer GPU, in 16 bits."""
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
