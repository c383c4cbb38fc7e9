"""Logits of the next token -> which one is taken, for each row of a batch by its own dice."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from anima_exp.errors import ModelError


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn, and where it ends."""

    max_new_tokens: int
    temperature: float = 0.0  # 0 = greedy
    top_p: float = 1.0
    stop: tuple[str, ...] = ()  # texts that end an answer and are no part of it


def choose(logits: torch.Tensor, how: Sampling, dice: Sequence[random.Random]) -> list[int]:
    """One token id for each row of `logits` `[B, V]`.

    Each row has dice of its own and throws them once a token, so that what is drawn for a row
    does not depend on the rows beside it.

    Raises:
        ModelError: a logit is not a number.
    """
    if how.temperature == 0:
        chosen = logits.argmax(-1)
    else:
        # In fp64: a share that rounds up would move the edge between two tokens.
        shares = (logits.double() / how.temperature).softmax(-1)
        by_share, order = shares.sort(descending=True, stable=True)
        kept = by_share.cumsum(-1) - by_share < how.top_p  # the first always is
        shares = shares * torch.zeros_like(kept).scatter(-1, order, kept)
        # In the order of the ids, not of the shares: two tokens of almost the same share change
        # places with the last digit of a logit, which another batch computes differently.
        upto = shares.cumsum(-1)
        thrown = on_device([[1 - die.random()] for die in dice], upto)  # in (0, 1]
        chosen = (upto < thrown * upto[:, -1:]).sum(-1)
    # One transfer for all rows: a GPU is waited for once a token.
    *tokens, broken = torch.cat([chosen, logits.isnan().any()[None].to(chosen.dtype)]).tolist()
    if broken:
        raise ModelError(
            "The model's output is not a number: its weights are broken, or too large for "
            "trainer.precision. Try trainer.precision=fp32."
        )
    return tokens


def on_device(values: Sequence[Any], like: torch.Tensor) -> torch.Tensor:
    """Return `values` with the type and device of `like`, without waiting for a GPU.

    The copy of ordinary memory waits until the GPU has done all that came before it; the copy of
    pinned memory does not.
    """
    here = torch.tensor(values, dtype=like.dtype)
    if like.is_cuda:
        return here.pin_memory().to(like.device, non_blocking=True)
    return here.to(like.device)
