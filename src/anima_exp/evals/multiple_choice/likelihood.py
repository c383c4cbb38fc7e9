"""Compute how likely a model finds each answer, reading the common prefix of the prompts once.

All questions of a subject begin with the same worked examples: with five shots, five sixths of all
tokens. They are read once into a key/value cache, and the questions, batched by length, continue
from it. The output layer runs only at the scored positions: one for each question if letters are
scored.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from anima_exp.errors import ModelError
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.transformers_internals import (
    Kept,
    cache_argument,
    cache_behind,
    cache_in,
    kept_by,
)
from anima_exp.model.architecture_check import (
    masks_padding,
    reads_cache,
    same_logits,
    some_ids,
)
from anima_exp.model.decoding import keep_last
from anima_exp.model.tokenizer import check_ids

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_MIN_LENGTH_RATIO = 0.8  # of the longest row in a batch
_MIN_BATCH_TOKENS = 512  # enough to use a GPU fully with a large model
_SHARES_PREFIX = "shares_prefix"  # the attribute of a model that stores the test's result
_MIN_SHARED_PREFIX = 8  # tokens; a shorter prefix is cheaper to read again


def choice_logits(
    model: "PreTrainedModel | PeftModel",
    prompts: Sequence[np.ndarray],
    ids: Sequence[int],
    *,
    batch_tokens: int,
) -> torch.Tensor:
    """Return the fp32 logits `[prompts, ids]` of the tokens `ids` after each prompt.

    Pass one subject at a time: the speed-up comes from the prefix that all `prompts` share. Call it
    inside `inference_mode`.
    """
    result = torch.empty(len(prompts), len(ids))
    for chosen, logits in _last_logits(model, prompts, keep=1, batch_tokens=batch_tokens):
        result[chosen] = logits[:, -1, list(ids)].float().cpu()
    return result


def option_logprobs(
    model: "PreTrainedModel | PeftModel",
    prompts: Sequence[np.ndarray],
    options: Sequence[np.ndarray],
    *,
    batch_tokens: int,
) -> torch.Tensor:
    """Return the log probability `[prompts]`, in nats, of each option after its prompt."""
    rows = [np.concatenate([p, o[:-1]]) for p, o in zip(prompts, options, strict=True)]
    result = torch.empty(len(rows))
    keep = max(map(len, options))
    for chosen, logits in _last_logits(model, rows, keep=keep, batch_tokens=batch_tokens):
        for position, number in enumerate(chosen):
            option = torch.as_tensor(options[number], dtype=torch.long, device=logits.device)
            logprobs = logits[position, -len(option) :].float().log_softmax(-1)
            result[number] = logprobs.gather(-1, option[:, None]).sum()
    return result


def _last_logits(
    model: "PreTrainedModel | PeftModel",
    rows: Sequence[np.ndarray],
    *,
    keep: int,
    batch_tokens: int,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield the row numbers of each batch, and the logits `[rows, keep, V]` at their ends."""
    check_ids(rows, model.config.get_text_config().vocab_size)
    prefix = shared_prefix(rows, keep=keep)
    # Reading the prefix separately pays only if several rows share it.
    shared = prefix >= _MIN_SHARED_PREFIX and len(rows) > 1 and _shares_prefix(model)
    cached = _read(model, rows[0][:prefix]) if shared else None
    prefix = prefix if cached else 0
    lengths = [len(row) - prefix for row in rows]
    equal_lengths = len(set(lengths)) > 1 and not masks_padding(model)
    for chosen in _batches(lengths, prefix, batch_tokens, equal_lengths=equal_lengths):
        rests = [rows[number][prefix:] for number in chosen]
        yield chosen, _continue(model, cached, prefix, rests, keep)


def _common(a: np.ndarray, b: np.ndarray) -> int:
    length = min(len(a), len(b))
    differ = np.nonzero(a[:length] != b[:length])[0]
    return int(differ[0]) if len(differ) else length


def shared_prefix(rows: Sequence[np.ndarray], *, keep: int = 1) -> int:
    """Return how many first tokens all rows share, without the last `keep` tokens of any row."""
    common = min(_common(rows[0], row) for row in rows)
    return max(min(common, min(map(len, rows)) - keep), 0)


def _batches(
    lengths: Sequence[int], prefix: int, batch_tokens: int, *, equal_lengths: bool = False
) -> Iterator[list[int]]:
    """Yield batches of rows of similar length, of at most `batch_tokens` tokens.

    The prefix and padding count as tokens of a row.

    Args:
        lengths: the tokens of each row after the prefix.
        equal_lengths: batch only rows of equal length, for a model whose output depends on padding.
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        longest = lengths[batch[0]] if batch else 0
        full = (len(batch) + 1) * (prefix + longest) > batch_tokens
        # A much shorter row would be mostly padding, but a small batch would leave the GPU idle.
        large = len(batch) * longest >= _MIN_BATCH_TOKENS
        shorter = lengths[number] < _MIN_LENGTH_RATIO * longest and large
        if batch and (full or shorter or (equal_lengths and lengths[number] != longest)):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _shares_prefix(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether rows can continue from one cached prefix, with padding after it.

    The test runs once for each model. It fails for MPT, for example, which measures the distance of
    tokens in the cache, padding included.
    """
    base = base_of(model)
    if not hasattr(base, _SHARES_PREFIX):
        row, rest = (ids.numpy() for ids in some_ids(model, (24, 30)))
        prefix = len(row) // 2
        rows = [row, np.concatenate([row[:prefix], rest[: len(rest) // 2]]), row[: prefix + 2]]
        kept = _read(model, row[:prefix]) if reads_cache(model) else None
        works = bool(kept) and same_logits(
            _continue(model, kept, prefix, [one[prefix:] for one in rows], 1)[:, -1],
            torch.cat([_continue(model, None, 0, [one], 1)[:, -1] for one in rows]),
        )
        setattr(base, _SHARES_PREFIX, works)
    return bool(getattr(base, _SHARES_PREFIX))


def _read(model: "PreTrainedModel | PeftModel", prefix: np.ndarray) -> Kept | None:
    """Return the key/value cache of `prefix`; None if the model does not cache all of it."""
    ids = torch.as_tensor(prefix[None], dtype=torch.long, device=model.device)
    output = model(input_ids=ids, use_cache=True, **keep_last(model, 1))
    return kept_by(cache_in(output))


def _continue(
    model: "PreTrainedModel | PeftModel",
    cached: Kept | None,
    prefix: int,
    rests: list[np.ndarray],
    keep: int,
) -> torch.Tensor:
    """Return the logits `[rows, keep, V]` at the end of `rests`, each continued from the prefix."""
    longest = max(map(len, rests))
    # Padding follows the prefix, so that all rows end in the same column.
    ids = torch.zeros((len(rests), longest), dtype=torch.long)
    mask = torch.ones((len(rests), prefix + longest), dtype=torch.long)
    positions = torch.zeros((len(rests), longest), dtype=torch.long)
    for number, rest in enumerate(rests):
        padding = longest - len(rest)
        ids[number, padding:] = torch.as_tensor(rest, dtype=torch.long)
        mask[number, prefix : prefix + padding] = 0
        positions[number, padding:] = torch.arange(prefix, prefix + len(rest))
    cache = cache_behind(cached) if cached else None
    logits: torch.Tensor = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        position_ids=positions.to(model.device),
        use_cache=cache is not None,
        **{cache_argument(base_of(model)): cache},
        **keep_last(model, keep),
    ).logits[:, -keep:]
    if logits.isnan().any():  # otherwise argmax would choose A, which looks like chance
        raise ModelError(
            "The model's output is NaN, so its choices cannot be scored. Its training has diverged "
            "or its files are damaged. Evaluate an earlier checkpoint or another model."
        )
    return logits
