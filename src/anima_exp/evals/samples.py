"""Answer a few fixed questions during training, as Anima's sample generations do."""

from typing import TYPE_CHECKING

from anima_exp.config import SamplesConfig
from anima_exp.data import formats
from anima_exp.data.encode import TextEncoder
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.model.generation import greedy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def samples(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    config: SamplesConfig,
    *,
    template: str,
    world: ProcessGroup = SINGLE_PROCESS,
) -> list[tuple[str, str]]:
    """Return pairs of a question and its greedy answer, in the prompt format `template`.

    Call it inside `inference_mode`.
    """
    to_prompt = formats.template(template)
    prompts = TextEncoder(tokenizer).prompts(
        lambda put, question=question: str(to_prompt(put(question)))  # type: ignore[misc]
        for question in config.prompts
    )
    answers = greedy(
        model,
        tokenizer,
        prompts,
        max_new_tokens=config.max_new_tokens,
        batch_size=len(prompts) or 1,
        world=world,
    )
    return [
        (question, answer.strip()) for question, answer in zip(config.prompts, answers, strict=True)
    ]
