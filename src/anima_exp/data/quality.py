"""Count the examples that repeat, contradict each other, or leak into the held-out split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.token_cache import Tokens

Hashes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class QualityIssues:
    repeated: int  # examples that say exactly what an earlier one says
    contradicted: int  # examples whose prompt has another response elsewhere


def faults(tokens: Tokens, *, before_prompt: int) -> QualityIssues:
    """`before_prompt` is how many ids BOS takes: 1, or 0 where there is none."""
    prompts, pairs = hashes(tokens)
    unique, first, times = np.unique(pairs, return_index=True, return_counts=True)
    # Prompts of different pairs: one that occurs twice has two different responses.
    _, back, answers = np.unique(prompts[first], return_inverse=True, return_counts=True)
    # Where the whole dialogue is the response, every prompt is empty and contradicts nothing.
    several = (answers[back] > 1) & (tokens.prompts[first] > before_prompt)
    return QualityIssues(
        repeated=len(pairs) - len(unique),
        contradicted=int(times[several].sum()),
    )


def count_leaked(train: TokenizedDataset, heldout: TokenizedDataset) -> int:
    """Held-out examples that are also trained on, word for word."""
    trained = hashes(train.tokens)[1][train.order]
    held = hashes(heldout.tokens)[1][heldout.order]
    return int(np.isin(held, trained).sum())


def hashes(tokens: Tokens) -> tuple[Hashes, Hashes]:
    """One number for each prompt and one for each whole example: equal ids, equal numbers."""
    prompts, pairs = np.empty((2, len(tokens)), dtype=np.int64)
    for i in range(len(tokens)):
        prompt, response = tokens.prompt(i).tobytes(), tokens.response(i).tobytes()
        prompts[i], pairs[i] = hash(prompt), hash((prompt, response))
    return prompts, pairs
