"""Compute the proportion of held-out rows that greedy decoding answers exactly."""

from typing import TYPE_CHECKING

from anima_exp.config import ExactMatchConfig
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
) -> float:
    """Return the proportion, 0 to 1, of the first `config.max_rows` rows answered exactly.

    Call it inside `inference_mode`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    answers = greedy(
        model,
        tokenizer,
        [list(map(int, rows.prompt_ids(number))) for number in range(count)],
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        world=world,
    )
    references = [str(tokenizer.decode(rows.response_ids(number))) for number in range(count)]
    right = sum(
        answers_match(answer, reference)
        for answer, reference in zip(answers, references, strict=True)
    )
    return right / max(count, 1)
