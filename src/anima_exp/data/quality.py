"""Count the examples that repeat, contradict each other, or leak into the held-out split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.token_cache import Tokens

Hashes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QualityIssues:
    """How many examples of a data set repeat or contradict others."""

    repeated: int  # examples that are identical to an earlier one
    contradicted: int  # examples whose prompt has a different response elsewhere


def count_issues(tokens: Tokens, *, before_prompt: int) -> QualityIssues:
    """Count repeated and contradictory examples.

    Args:
        before_prompt: the number of ids before a prompt: 1 for BOS, or 0 without BOS.
    """
    prompts, pairs = hashes(tokens)
    unique, first, times = np.unique(pairs, return_index=True, return_counts=True)
    # A prompt that occurs in two different pairs has two different responses.
    _, back, answers = np.unique(prompts[first], return_inverse=True, return_counts=True)
    # If the response is the whole dialogue, every prompt is empty and contradicts nothing.
    several = (answers[back] > 1) & (tokens.prompts[first] > before_prompt)
    return QualityIssues(
        repeated=len(pairs) - len(unique),
        contradicted=int(times[several].sum()),
    )


def count_leaked(train: TokenizedDataset, heldout: TokenizedDataset) -> int:
    """Count the held-out examples that are identical to a training example."""
    trained = hashes(train.tokens)[1][train.order]
    held = hashes(heldout.tokens)[1][heldout.order]
    return int(np.isin(held, trained).sum())


def hashes(tokens: Tokens) -> tuple[Hashes, Hashes]:
    """Return a hash of each prompt `[N]` and of each whole example `[N]`."""
    prompts, pairs = np.empty((2, len(tokens)), dtype=np.int64)
    for i in range(len(tokens)):
        prompt, response = tokens.prompt(i).tobytes(), tokens.response(i).tobytes()
        prompts[i], pairs[i] = hash(prompt), hash((prompt, response))
    return prompts, pairs
