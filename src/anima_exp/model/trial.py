"""A model just loaded -> what its architecture allows, tried on two short rows.

Architectures are many, and some mix tokens beside attention or do more to their logits than a
product. Guessing by name would train some of them on wrong numbers without a word.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch, concatenate
from anima_exp.errors import ModelError
from anima_exp.model.attention import BordersLost, keep_alone, keeps_rows_apart, rows_apart
from anima_exp.model.forward import decode
from anima_exp.model.loss import head_of, logits_of

_LENGTHS = (5, 7)
_LEAK = 1e-2  # of a state's length; two passes of one shape differ by nothing, or by an expert's
_ROUNDING = 1e-1  # of the logits' length, in 16 bits or LLM.int8()


def try_architecture(model: Any, *, rounds_together: bool = False) -> None:
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
            keep_alone(model)
        _check_head(model)


def _rows_see_each_other(model: Any) -> bool:
    """Whether other tokens in the first row change anything in the second.

    Raises:
        BordersLost: the architecture does not take them.
    """
    if not keeps_rows_apart(model):
        return True
    first, length = _LENGTHS[0], sum(_LENGTHS)
    one = short_batch(model, *_LENGTHS)
    ids = one.ids.clone()
    ids[0, :first] = ids[0, :first].flip(0)
    with rows_apart(model):
        before, after = (
            decode(model, batch)[0, first:length].float() for batch in (one, replace(one, ids=ids))
        )
    apart = (before - after).norm(dim=-1) / before.norm(dim=-1).clamp_min(1e-6)
    return bool(apart.max() > _LEAK)


def _check_head(model: Any) -> None:
    batch = short_batch(model, _LENGTHS[0])
    with rows_apart(model):
        ours = logits_of(decode(model, batch)[0], head_of(model))
    theirs: Tensor = model(input_ids=batch.ids, use_cache=False).logits[0].float().to(ours.device)
    if not theirs.isfinite().any():
        raise ModelError(
            f"{model.config.name_or_path}: the output of the base is not a number. Its weights are "
            "damaged, or too large for trainer.precision. Try trainer.precision=fp32."
        )
    apart = float((ours - theirs).norm() / theirs.norm())
    if apart > _ROUNDING:  # not so where either is no number: fp16 overflows on some models
        raise ModelError(
            f"{model.config.name_or_path}: {type(model).__name__} makes its logits in a way that "
            f"is not known here (they differ by {100 * apart:.0f} %), so its loss would be wrong."
        )


def short_batch(model: Any, *lengths: int) -> MicroBatch:
    vocabulary = model.config.get_text_config().vocab_size
    rows = []
    for start, length in enumerate(lengths):
        ids = (torch.arange(length) * 7 + 11 * (start + 1)) % vocabulary
        rows.append({"input_ids": ids.numpy(), "labels": ids.numpy()})
    return concatenate(rows, range(len(rows)), [1.0] * len(rows)).to(model.device)
