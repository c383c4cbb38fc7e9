"""Generate the answers to many prompts, in batches of similar length."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from anima_exp.config import Precision
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.model.base import DTYPES, autocast
from anima_exp.model.cast_weights import cast_once
from anima_exp.model.decoding import Sampling, decode
from anima_exp.model.lora_linear import lora_weights
from anima_exp.model.varlen_attention import without_cudnn_attention

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@contextmanager
def inference_mode(model: "PreTrainedModel | PeftModel", precision: Precision) -> Iterator[None]:
    """Inside, evaluate without gradients and with products in `precision`.

    Afterwards the model's former mode is restored. cuDNN attention is off inside, as it prepares
    each new length (varlen_attention.py).
    """
    training, where = model.training, model.device
    model.eval()
    try:
        with (
            torch.no_grad(),
            autocast(where, precision),
            without_cudnn_attention(where),
            cast_once(lora_weights(model), DTYPES[precision]),
        ):
            yield
    finally:
        model.train(training)


def greedy(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    stop_ids: Sequence[int] = (),
    world: ProcessGroup = SINGLE_PROCESS,
) -> list[str]:
    """Return the greedy continuation of each prompt, up to its end-of-sequence token.

    Prompts of similar length are batched. Call it inside `inference_mode`.

    Raises:
        ModelError: if a prompt fills the model's context.
    """
    how = Sampling(max_new_tokens)

    def answered(numbers: Sequence[int]) -> list[str]:
        texts = []
        for start in range(0, len(numbers), batch_size):
            chosen = [prompts[number] for number in numbers[start : start + batch_size]]
            answers = decode(model, tokenizer, chosen, how, stop_ids=stop_ids, world=world)
            texts += [answer.text for answer in answers]
        return texts

    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    texts = dict(zip(by_length, world.map_over_ranks(by_length, answered), strict=True))
    return [texts[number] for number in range(len(prompts))]
