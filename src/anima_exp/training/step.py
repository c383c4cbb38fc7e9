"""One optimizer batch -> its loss and the gradients, in as few micro-batches as memory allows."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import LossAverage, Precision
from anima_exp.data.micro_batch import (
    MicroBatch,
    Row,
    concatenate,
    cut,
    label_weights,
)
from anima_exp.errors import TrainingError
from anima_exp.model.attention import keeps_rows_apart, rows_apart
from anima_exp.model.base import autocast
from anima_exp.model.dropout import TokenKeys, token_keys
from anima_exp.model.forward import loss_of


class Step:
    """Computes gradients, batch after batch, and remembers the token budget that memory taught it.

    Args:
        keys: what the model's LoRA layers take their dropout masks from.
        budget: tokens of one micro-batch.
        backward: takes a micro-batch's loss and adds its gradients.
        say: takes a line for the user.
    """

    def __init__(
        self,
        model: Any,
        keys: TokenKeys,
        *,
        budget: int,
        precision: Precision,
        average: LossAverage,
        seed: int,
        backward: Callable[[Tensor], None],
        say: Callable[[str], None],
    ) -> None:
        self.model, self.keys, self.budget = model, keys, budget
        self.out_of_memory = 0  # how often
        self.precision, self.average, self.seed = precision, average, seed
        self.backward, self.say = backward, say

    def __call__(self, rows: Sequence[Row], *, number: int) -> Tensor:
        """Gradients of batch `number` (steps done before it); returns its loss, in fp32.

        Out of memory, the batch is done again with half the budget: its loss and gradients are
        the same, as dropout does not depend on how a batch is cut.

        Raises:
            TrainingError: not even one row at a time fits.
        """
        while True:
            cuts = self._cut(rows)
            try:
                return self._gradients(rows, cuts, number)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                longest = max(len(row["input_ids"]) for row in rows)
                if all(len(one) == 1 for one in cuts):
                    raise TrainingError(
                        f"Step {number + 1}: out of memory with a single row of {longest} tokens. "
                        "Lower data.max_prompt_tokens, data.max_response_tokens or lora.rank, or "
                        "use trainer.recompute=full, quant.keep_dequantized=false, quant=nf4."
                    ) from error
                # Of the budget or, where the batch never filled it, of what was really tried.
                tried = max(sum(len(rows[r]["input_ids"]) for r in one) for one in cuts)
                self.budget = max(min(self.budget, tried) // 2, 1)
                self.out_of_memory += 1
            self.model.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.say(
                f"Out of memory at step {number + 1}: done again, from here on with "
                f"trainer.token_budget={self.budget}."
            )

    def _cut(self, rows: Sequence[Row]) -> list[list[int]]:
        if not keeps_rows_apart(self.model):
            return [[number] for number in range(len(rows))]
        return cut([len(row["input_ids"]) for row in rows], self.budget)

    def _gradients(self, rows: Sequence[Row], cuts: list[list[int]], number: int) -> Tensor:
        weights = label_weights(rows, self.average)
        device = self.model.device
        total = torch.zeros((), device=device)
        for chosen in cuts:
            batch = concatenate(rows, chosen, weights).to(device)
            self.keys.now = token_keys(self.seed, number, chosen, batch.lengths, device)
            total += self._one(batch).to(device)
        self.keys.now = None
        return total

    def _one(self, batch: MicroBatch) -> Tensor:
        # The backward pass is inside: recomputation needs the same attention.
        with rows_apart(self.model):
            with autocast(self.model.device, self.precision):
                loss = loss_of(self.model, batch)
            self.backward(loss)
        return loss.detach()


def _out_of_memory(error: Exception) -> bool:
    # On a CPU, and in CUDA's libraries, torch says so in a plain RuntimeError.
    known = ("can't allocate memory", "CUDA error: out of memory", "_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(one in str(error) for one in known)
