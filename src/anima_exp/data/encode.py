"""Token ids of a prompt and its response -> ids and labels of one training example.

The rules are qlora.py's (DataCollatorForCausalLM): prompt and response are tokenised apart,
without special tokens, BOS goes before the prompt, EOS behind the response, and each is cut at
its own length. So SentencePiece's leading ▁ stays at the start of every response.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anima_exp.config import DataConfig
from anima_exp.errors import ModelError

IGNORE = -100  # the label that PyTorch's cross-entropy skips

Ids = npt.NDArray[np.int32]
IdsAndLabels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Limits:
    """How much of an example is kept, and where the loss is taken."""

    max_prompt: int  # BOS included; the start is kept
    max_response: int  # EOS included; the start is kept
    train_on_source: bool = False  # take the loss on the prompt too
    eos_when_truncated: bool = False  # end a response with EOS even where it was cut short


def limits(config: DataConfig) -> Limits:
    return Limits(
        max_prompt=config.max_prompt_tokens,
        max_response=config.max_response_tokens,
        train_on_source=config.train_on_source,
        eos_when_truncated=config.eos_when_truncated,
    )


def special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What goes before a prompt and behind a response: ([BOS] or [], [EOS])."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "The tokenizer has no end-of-sequence token, so no answer could ever end. "
            "Give another one with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    # Qwen's models never saw a BOS: they have none.
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return begin, [tokenizer.eos_token_id]


def encode(
    prompt: Sequence[int] | Ids, response: Sequence[int] | Ids, limits: Limits
) -> IdsAndLabels:
    """Token ids of one example, and the label of each.

    Args:
        prompt: all ids, BOS included.
        response: all ids, EOS last.

    Returns:
        `ids` and `labels`, both of length T <= max_prompt + max_response. A response that does
        not fit loses its EOS, so the model is not taught to stop where the text went on.
    """
    ids = np.concatenate([prompt[: limits.max_prompt], response[: limits.max_response]])
    ids = ids.astype(np.int64)
    if limits.eos_when_truncated:
        ids[-1] = response[-1]
    labels = ids.copy()
    if not limits.train_on_source:
        labels[: min(len(prompt), limits.max_prompt)] = IGNORE
    return ids, labels
