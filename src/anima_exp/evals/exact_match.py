"""Compute the proportion of held-out rows that greedy decoding answers exactly.

In a conversation every answer is asked for, after the true messages before it. So a wrong answer
does not make the next ones wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anima_exp.config import ExactMatchConfig
from anima_exp.config.evals import EXACT_MATCH_TURNS
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.metrics.text_match import answers_match
from anima_exp.model.generation import greedy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from anima_exp.data.rows import TokenizedDataset


@dataclass(frozen=True)
class _Asked:
    """A prompt and its reference answer. `turn` counts the answers of a conversation from 1."""

    prompt: list[int]
    reference: str
    turn: int | None = None  # None: the row is no conversation


def exact_match(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: "TokenizedDataset",
    config: ExactMatchConfig,
    world: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, float]:
    """Return the proportion, 0 to 1, of the answers of the first `config.max_rows` rows.

    Conversations have a proportion for each of their first turns, too. Call it inside
    `inference_mode`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    asked = [one for number in range(count) for one in _asked(rows, number, tokenizer)]
    answers = greedy(
        model,
        tokenizer,
        [one.prompt for one in asked],
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        world=world,
    )
    right = [
        answers_match(answer, one.reference) for answer, one in zip(answers, asked, strict=True)
    ]
    scores = {"exact_match": _share(right)}
    for turn, name in enumerate(EXACT_MATCH_TURNS, 1):
        of_turn = [mark for mark, one in zip(right, asked, strict=True) if one.turn == turn]
        if of_turn:
            scores[name] = _share(of_turn)
    return scores


def _asked(
    rows: "TokenizedDataset", number: int, tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[_Asked]:
    if not hasattr(rows, "questions"):
        reference = str(tokenizer.decode(rows.response_ids(number)))
        yield _Asked(list(map(int, rows.prompt_ids(number))), reference)
        return
    for question in rows.questions(number):
        # The last id may be the token that ends the answer, which generated texts do not have.
        reference = str(tokenizer.decode(question.response, skip_special_tokens=True))
        yield _Asked(list(map(int, question.prompt)), reference, question.turn)


def _share(right: Sequence[bool]) -> float:
    return sum(right) / max(len(right), 1)
