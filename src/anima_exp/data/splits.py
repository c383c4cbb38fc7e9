"""Define what a run gets of a data set: training rows, held-out rows, and their counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anima_exp.data.chat.prepare import ChatData
from anima_exp.data.mixed import MixedDataset
from anima_exp.data.rows import ExampleDataset, TokenizedDataset

if TYPE_CHECKING:
    from anima_exp.data.part_counts import PartCounts


@dataclass(frozen=True)
class Counts:
    """How many rows, examples and tokens a data set has; from `truncated_prompts` on for training.

    An example without labels has an empty prompt and a response of one token.
    """

    rows: int  # read from the training source and, if there is one, the held-out source
    skipped: int  # rows left out (data.on_bad_row=skip)
    train: int  # training examples
    heldout: int  # held-out examples
    truncated_prompts: int
    truncated_responses: int
    without_labels: int
    train_tokens: int  # in one epoch, after truncation
    label_tokens: int  # tokens that the loss is computed on


@dataclass(frozen=True)
class DatasetSplits:
    """The training rows and the held-out rows of a data set."""

    train: TokenizedDataset
    heldout: TokenizedDataset
    counts: Counts
    fingerprint: str  # of the source rows only
    notes: dict[str, str] = field(default_factory=dict)  # remarks about the rows, by heading
    chat: ChatData | None = None  # if the rows are conversations
    parts: "Mapping[str, PartCounts]" = field(default_factory=dict)  # of a mixture, by name


def count(train: TokenizedDataset, heldout: TokenizedDataset, *, rows: int, skipped: int) -> Counts:
    """Count the rows and tokens of a data set.

    Args:
        rows: how many rows were read.
        skipped: how many of them were left out.
    """
    parts = list(train.parts.values()) if isinstance(train, MixedDataset) else [train]
    examples = [part for part in parts if isinstance(part, ExampleDataset)]
    return Counts(
        rows=rows,
        skipped=skipped,
        train=len(train),
        heldout=len(heldout),
        truncated_prompts=sum(
            int((one.full_prompt_lengths > one.limits.max_prompt).sum()) for one in examples
        ),
        truncated_responses=sum(
            int((one.full_response_lengths > one.limits.max_response).sum()) for one in examples
        ),
        without_labels=int((train.label_counts <= 0).sum()),
        train_tokens=int(train.lengths.sum(dtype=np.int64)),
        label_tokens=int(train.label_counts.sum(dtype=np.int64)),
    )
