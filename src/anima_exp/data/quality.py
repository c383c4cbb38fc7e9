"""Count the examples that repeat, contradict each other, or leak into the held-out split."""

from dataclasses import dataclass

import numpy as np

from anima_exp.data.rows import TokenizedDataset


@dataclass(frozen=True)
class QualityIssues:
    """How many examples of a data set repeat or contradict others."""

    repeated: int  # examples that are identical to an earlier one
    contradicted: int  # examples whose prompt has a different response elsewhere


def count_issues(rows: TokenizedDataset, *, before_prompt: int) -> QualityIssues:
    """Count repeated and contradictory examples.

    Args:
        before_prompt: the number of ids before a prompt: 1 for BOS, or 0 without BOS.
    """
    prompts, pairs = rows.hashes()
    unique, first, times = np.unique(pairs, return_index=True, return_counts=True)
    # A prompt that occurs in two different pairs has two different responses.
    _, back, answers = np.unique(prompts[first], return_inverse=True, return_counts=True)
    # If the response is the whole dialogue, every prompt is empty and contradicts nothing.
    several = (answers[back] > 1) & (rows.full_prompt_lengths[first] > before_prompt)
    return QualityIssues(
        repeated=len(pairs) - len(unique),
        contradicted=int(times[several].sum()),
    )


def count_leaked(train: TokenizedDataset, heldout: TokenizedDataset) -> int:
    """Count the held-out examples that are identical to a training example."""
    return int(np.isin(heldout.hashes()[1], train.hashes()[1]).sum())
