"""Compute the proportion of held-out rows that greedy decoding answers exactly.

In a conversation the model is prompted for every answer, after the true messages before it. So a
wrong answer does not make the next ones wrong.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anima_exp.config import ExactMatchConfig
from anima_exp.config.evals import EXACT_MATCH_TURNS
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.metrics.text_match import answers_match
from anima_exp.model.generation import greedy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from anima_exp.data.rows import TokenizedDataset


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
    questions = [question for number in range(count) for question in rows.questions(number)]
    answers = greedy(
        model,
        tokenizer,
        [list(map(int, question.prompt)) for question in questions],
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        world=world,
    )
    references = [str(tokenizer.decode(question.response)) for question in questions]
    right = [
        answers_match(*pair, config.answer_pattern)
        for pair in zip(answers, references, strict=True)
    ]
    scores = {"exact_match": _share(right)}
    if not isinstance(rows, ChatDataset) and all(question.turn == 1 for question in questions):
        return scores
    for turn, name in enumerate(EXACT_MATCH_TURNS, 1):
        of_turn = [mark for mark, one in zip(right, questions, strict=True) if one.turn == turn]
        if of_turn:
            scores[name] = _share(of_turn)
    return scores


def _share(right: Sequence[bool]) -> float:
    return sum(right) / max(len(right), 1)
