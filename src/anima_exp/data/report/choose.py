"""Choose the rows of a data set that a report shows, and decode their tokens."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.source import Source
from anima_exp.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rows_to_show(
    rows: TokenizedDataset,
    source: Source,
    reasons: Iterable[tuple[str, int | None]],
    *,
    count: int,
    number: int | None,
) -> dict[int, str]:
    """Return the rows to show, each with why it is shown, in their order.

    Args:
        reasons: a reason, and the row to show for it; None if there is no such row.
        number: show what became of this source row, and no other.

    Raises:
        DataError: if nothing of the source row is trained on.
    """
    if number is not None:
        chosen = [index for index in range(len(rows)) if rows.source_row(index) == number]
        if not chosen:
            raise DataError(
                f"show_row={number}: {source.locate(number)} is not trained on. It does not exist, "
                "or it was skipped or dropped. Give the number of another row."
            )
        return dict.fromkeys(chosen[:count], "")
    found: dict[int, str] = {}
    for reason, index in reasons:
        if index is not None and (index in found or len(found) < count):
            found[index] = f"{found[index]}, {reason}" if index in found else reason
    return dict(sorted(found.items()))


def first(mask: npt.NDArray[np.bool_]) -> int | None:
    """Return the first index at which the mask is true; None if there is none."""
    return int(mask.argmax()) if mask.any() else None


def texts(
    tokenizer: "PreTrainedTokenizerBase", ids: npt.NDArray[np.int64], ends: Sequence[int]
) -> list[str]:
    """Return the text of each part of a row. Together they are the text of the row.

    Some tokenizers leave out the space before the first word of a text. So each part is what its
    ids add to the text before it.

    Args:
        ends: where each part ends. The first one begins at 0.
    """
    found: list[str] = []
    start, before = 0, ""
    for end in ends:
        text = _decoded(tokenizer, ids[:end])
        if text.startswith(before):
            found.append(text[len(before) :])
        else:  # a character is divided between the parts
            found.append(_decoded(tokenizer, ids[start:end]))
        start, before = end, text
    return found


def _decoded(tokenizer: "PreTrainedTokenizerBase", ids: npt.NDArray[np.int64]) -> str:
    return str(
        tokenizer.decode(
            ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    )
