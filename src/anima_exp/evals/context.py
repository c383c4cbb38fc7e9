"""Define what an evaluation of your own receives: the model, held-out rows and answers."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anima_exp.config import RunConfig
from anima_exp.data.chat.conversation import Conversation
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class HeldoutRow:
    """A held-out row: its texts, and the ids of its prompt in the form used in training."""

    prompt: str
    response: str
    prompt_ids: Sequence[int] = field(repr=False)  # begins with BOS


@dataclass(frozen=True)
class EvalContext:
    """What an evaluation receives. The model is in evaluation mode, without gradients."""

    model: "PreTrainedModel | PeftModel"
    tokenizer: "PreTrainedTokenizerBase"
    config: RunConfig  # of the run, or of the evaluate command
    step: int | None  # None: the model is not being trained
    rows: Any = field(default=(), repr=False)  # the held-out rows: data.rows.TokenizedDataset
    world: ProcessGroup = (
        SINGLE_PROCESS  # the processes of this run; world.is_main is true in one of them
    )

    @property
    def device(self) -> "torch.device":
        """The device of the model."""
        return self.model.device

    @cached_property
    def heldout(self) -> list[HeldoutRow]:
        """The held-out rows in their order. None of them was trained on."""
        rows = []
        for number in range(len(self.rows)):
            ids = [int(one) for one in self.rows.prompt_ids(number)]
            prompt = str(self.tokenizer.decode(ids, skip_special_tokens=True))
            response = str(self.tokenizer.decode(self.rows.response_ids(number)))
            rows.append(HeldoutRow(prompt, response, ids))
        return rows

    def generate(
        self,
        prompts: Sequence[str | Conversation | HeldoutRow],
        *,
        max_new_tokens: int = 64,
        batch_size: int = 16,
    ) -> list[str]:
        """Return the greedy answer to each prompt. Several processes share the work.

        Args:
            prompts: questions or conversations, which get the run's prompt format, or rows of
                `heldout`, whose prompts are used unchanged.
        """
        from anima_exp.data.prompts import ChatOptions, Prompter
        from anima_exp.model.generation import greedy

        options = ChatOptions(thinking=self.config.data.thinking)
        prompter = Prompter(self.config.data.prompt_template, self.tokenizer, options)

        def ids_of(one: str | Conversation | HeldoutRow) -> Sequence[int]:
            if isinstance(one, str):
                return prompter.prompt(one).ids
            if isinstance(one, Conversation):
                return prompter.conversation(one).ids
            return one.prompt_ids

        ids = [ids_of(one) for one in prompts]
        return greedy(
            self.model,
            self.tokenizer,
            ids,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            stop_ids=prompter.stop_ids,
            world=self.world,
        )


@contextmanager
def separate_random_state(seed: int) -> Iterator[None]:
    """Seed all random generators, and restore them afterwards, so that training is unaffected."""
    import numpy as np
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
