"""Answer a few fixed questions during training, as Anima's sample generations do."""

from typing import TYPE_CHECKING

from anima_exp.config import SamplesConfig
from anima_exp.data.prompts import NO_OPTIONS, ChatOptions, Prompter
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
    options: ChatOptions = NO_OPTIONS,
    world: ProcessGroup = SINGLE_PROCESS,
) -> list[tuple[str, str]]:
    """Return pairs of a question and its greedy answer, in the prompt format `template`.

    Call it inside `inference_mode`.
    """
    prompter = Prompter(template, tokenizer, options)
    prompts = [prompter.prompt(question).ids for question in config.prompts]
    answers = greedy(
        model,
        tokenizer,
        prompts,
        max_new_tokens=config.max_new_tokens,
        batch_size=len(prompts) or 1,
        stop_ids=prompter.stop_ids,
        world=world,
    )
    return [
        (question, answer.strip()) for question, answer in zip(config.prompts, answers, strict=True)
    ]
