"""Compute attention over packed rows, in which no row attends to another, without a mask.

transformers detects packed rows by itself, but then builds a mask of T x T for T tokens, and with a
key-value cache it ignores the rows. So the row borders are passed to an attention function here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


_NAME = "rows_apart"
_OBSTACLE = "why_rows_are_not_packed"
_OWN_BORDERS = ("flash_attention",)  # transformers' functions that take the borders directly


class BordersLost(Exception):
    """The architecture does not pass arguments of the forward pass to its attention."""


def supports_packing(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether packed rows can be computed with an attention function of ours.

    If not, a micro-batch is one row and uses the architecture's own attention.
    """
    return packing_obstacle(model) is None


def packing_obstacle(model: "PreTrainedModel | PeftModel") -> str | None:
    """Return why rows of this model cannot be packed, in one phrase; None if they can."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if not takes_attention(model):
        return "its attention cannot be replaced"
    for name in ("attn_logit_softcapping", "attention_chunk_size"):
        if getattr(config, name, None):
            return f"its attention has {name}"
    if unknown := sorted(kinds - {"full_attention", "sliding_attention"}):
        return f"it has layers of {', '.join(unknown)}"
    found: str | None = getattr(model, _OBSTACLE, None)
    return found


def disable_packing(model: "PreTrainedModel | PeftModel", why: str) -> None:
    """Compute every row as its own micro-batch from now on.

    Call it for an architecture that mixes tokens outside attention.

    Args:
        why: the obstacle that `packing_obstacle` returns.
    """
    setattr(model, _OBSTACLE, why)


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Inside, run forward and backward passes on packed rows; pass `borders` to the forward."""
    config = model.config.get_text_config()
    with without_cudnn_attention(model.device):
        if not supports_packing(model) or attention_of(config).startswith(_OWN_BORDERS):
            yield
            return
        with attention_by(config, _NAME, _attention):
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


def borders(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> dict[str, Any]:
    """Return the arguments of the model's forward pass that describe the packed rows."""
    if attention_of(model.config.get_text_config()) == _NAME:
        return {"micro_batch": batch}
    if not supports_packing(model):  # so the micro-batch is one row
        return {}
    longest = max(batch.lengths)
    return {  # transformers' names
        "cu_seq_lens_q": batch.starts,
        "cu_seq_lens_k": batch.starts,
        "max_length_q": longest,
        "max_length_k": longest,
    }


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
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute attention over packed rows for transformers.

    `query` [1, heads, T, D], `key` and `value` [1, kv heads, T, D] -> [1, T, heads, D].
    """
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
