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
from anima_exp.libraries.transformers_internals import (
    Kept,
    cache_argument,
    cache_behind,
    cache_in,
    kept_by,
)
from anima_exp.model.architecture_check import masks_padding, same_logits, some_ids
from anima_exp.model.decoding import keep_last
from anima_exp.model.forward import base_of
from anima_exp.model.tokenizer import check_ids

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_ALIKE = 0.8  # of the longest in a batch
_ENOUGH = 512  # tokens at once, from which on a large model is busy
_KNOWN = "shares_prefix"
_WORTH = 8  # tokens; a shorter common beginning is cheaper read again


def letters(
    model: "PreTrainedModel | PeftModel",
    prompts: Sequence[np.ndarray],
    ids: Sequence[int],
    *,
    batch_tokens: int,
) -> torch.Tensor:
    """Logits float32 [prompts, ids] of the tokens that may follow; inside `inference`.

    The fewer of the first tokens all `prompts` share, the less there is to gain: one subject at
    a time.
    """
    found = torch.empty(len(prompts), len(ids))
    for chosen, logits in _last_logits(model, prompts, keep=1, batch_tokens=batch_tokens):
        found[chosen] = logits[:, -1, list(ids)].float().cpu()
    return found


def answers(
    model: "PreTrainedModel | PeftModel",
    prompts: Sequence[np.ndarray],
    options: Sequence[np.ndarray],
    *,
    batch_tokens: int,
) -> torch.Tensor:
    """Summed log probability, nats [prompts], of each option behind its prompt."""
    rows = [np.concatenate([p, o[:-1]]) for p, o in zip(prompts, options, strict=True)]
    found = torch.empty(len(rows))
    keep = max(map(len, options))
    for chosen, logits in _last_logits(model, rows, keep=keep, batch_tokens=batch_tokens):
        for place, number in enumerate(chosen):
            option = torch.as_tensor(options[number], dtype=torch.long, device=logits.device)
            likely = logits[place, -len(option) :].float().log_softmax(-1)
            found[number] = likely.gather(-1, option[:, None]).sum()
    return found


def _last_logits(
    model: "PreTrainedModel | PeftModel",
    rows: Sequence[np.ndarray],
    *,
    keep: int,
    batch_tokens: int,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """(numbers of a batch's rows, logits [rows, keep, V] of their last positions)."""
    check_ids(rows, model.config.get_text_config().vocab_size)
    prefix = shared_prefix(rows, keep=keep)
    # Reading it apart pays where it is read again.
    shared = prefix >= _WORTH and len(rows) > 1 and _shares_prefix(model)
    known = _read(model, rows[0][:prefix]) if shared else None
    prefix = prefix if known else 0
    lengths = [len(row) - prefix for row in rows]
    alike = len(set(lengths)) > 1 and not masks_padding(model)
    for chosen in _batches(lengths, prefix, batch_tokens, alike=alike):
        rests = [rows[number][prefix:] for number in chosen]
        yield chosen, _continue(model, known, prefix, rests, keep)


def _common(a: np.ndarray, b: np.ndarray) -> int:
    length = min(len(a), len(b))
    differ = np.nonzero(a[:length] != b[:length])[0]
    return int(differ[0]) if len(differ) else length


def shared_prefix(rows: Sequence[np.ndarray], *, keep: int = 1) -> int:
    """How many tokens all rows begin with, the last `keep` of each left to be read."""
    common = min(_common(rows[0], row) for row in rows)
    return max(min(common, min(map(len, rows)) - keep), 0)


def _batches(
    lengths: Sequence[int], prefix: int, batch_tokens: int, *, alike: bool = False
) -> Iterator[list[int]]:
    """Numbers of rows of similar length: what they read, padding and prefix are `batch_tokens`.

    Args:
        lengths: of what each row has behind the prefix.
        alike: rows of one length only, for a model whose output depends on padding.
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        longest = lengths[batch[0]] if batch else 0
        full = (len(batch) + 1) * (prefix + longest) > batch_tokens
        # A much shorter row would be mostly padding; but a GPU is not to be left idle either.
        shorter = lengths[number] < _ALIKE * longest and len(batch) * longest >= _ENOUGH
        if batch and (full or shorter or (alike and lengths[number] != longest)):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _shares_prefix(model: "PreTrainedModel | PeftModel") -> bool:
    """Whether rows may go on from one prefix, with padding between; tried once for a model.

    MPT counts the distance between tokens in the cache, where padding counts too.
    """
    base = base_of(model)
    if not hasattr(base, _KNOWN):
        row, rest = (ids.numpy() for ids in some_ids(model, (24, 30)))
        prefix = len(row) // 2
        rows = [row, np.concatenate([row[:prefix], rest[: len(rest) // 2]]), row[: prefix + 2]]
        kept = _read(model, row[:prefix])
        found = bool(kept) and same_logits(
            _continue(model, kept, prefix, [one[prefix:] for one in rows], 1)[:, -1],
            torch.cat([_continue(model, None, 0, [one], 1)[:, -1] for one in rows]),
        )
        setattr(base, _KNOWN, found)
    return bool(getattr(base, _KNOWN))


def _read(model: "PreTrainedModel | PeftModel", prefix: np.ndarray) -> Kept | None:
    """What attention keeps of `prefix`; None for a model that does not keep all of it."""
    ids = torch.as_tensor(prefix[None], dtype=torch.long, device=model.device)
    found = model(input_ids=ids, use_cache=True, **keep_last(model, 1))
    return kept_by(cache_in(found))


def _continue(
    model: "PreTrainedModel | PeftModel",
    known: Kept | None,
    prefix: int,
    rests: list[np.ndarray],
    keep: int,
) -> torch.Tensor:
    """Logits [rows, keep, V] of the last positions of `rests`, each behind the prefix."""
    longest = max(map(len, rests))
    # Padding stands between prefix and question, so that all questions end in one column.
    ids = torch.zeros((len(rests), longest), dtype=torch.long)
    mask = torch.ones((len(rests), prefix + longest), dtype=torch.long)
    places = torch.zeros((len(rests), longest), dtype=torch.long)
    for number, rest in enumerate(rests):
        padding = longest - len(rest)
        ids[number, padding:] = torch.as_tensor(rest, dtype=torch.long)
        mask[number, prefix : prefix + padding] = 0
        places[number, padding:] = torch.arange(prefix, prefix + len(rest))
    cache = cache_behind(known) if known else None
    logits: torch.Tensor = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        position_ids=places.to(model.device),
        use_cache=cache is not None,
        **{cache_argument(base_of(model)): cache},
        **keep_last(model, keep),
    ).logits[:, -keep:]
    if logits.isnan().any():  # else the first choice would be the likeliest, and look like chance
        raise ModelError(
            "The model's output is NaN, so its choices cannot be scored. Its training has diverged "
            "or its files are damaged. Evaluate an earlier checkpoint or another model."
        )
    return logits
