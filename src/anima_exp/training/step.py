"""Compute the loss and gradients of an optimizer batch in as few micro-batches as memory allows.

With several processes, each one computes its part of the rows, and the gradients are all-reduced.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anima_exp.config import LossNormalization, Precision
from anima_exp.data.micro_batch import (
    MicroBatch,
    Row,
    label_weights,
    pack_first_fit,
    pack_rows,
)
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.errors import TrainingError
from anima_exp.model.activation_checkpointing import memory_advice
from anima_exp.model.base import DTYPES, autocast
from anima_exp.model.cast_weights import cast_once
from anima_exp.model.forward import loss_of
from anima_exp.model.hashed_dropout import DropoutKeys, token_keys
from anima_exp.model.lora_linear import lora_weights
from anima_exp.model.varlen_attention import packed_attention, supports_packing
from anima_exp.training.data_order import assign_rows_to_ranks

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class GradientStep:
    """Computes the gradients of one optimizer batch at a time.

    After an out-of-memory error it repeats the batch with half the token budget, and keeps the
    smaller budget.

    Args:
        keys: the object that holds the current dropout keys of the model's LoRA layers.
        budget: tokens of one micro-batch.
        backward: computes and adds the gradients of a micro-batch's loss.
        say: takes a line for the user.
        world: the processes that share a batch.
        lockstep: whether all ranks must run the same number of forward passes, because each holds
            only a shard of the base model (model/fsdp.py).
    """

    def __init__(
        self,
        model: "PreTrainedModel | PeftModel",
        keys: DropoutKeys,
        *,
        budget: int,
        precision: Precision,
        average: LossNormalization,
        seed: int,
        backward: Callable[[Tensor], None],
        say: Callable[[str], None],
        world: ProcessGroup = SINGLE_PROCESS,
        lockstep: bool = False,
    ) -> None:
        self.model, self.keys, self.budget = model, keys, budget
        self.out_of_memory = 0  # how often
        self.precision, self.average, self.seed = precision, average, seed
        self.backward, self.say = backward, say
        self.world, self.lockstep = world, lockstep
        self.trainable_parameters = [one for one in model.parameters() if one.requires_grad]
        self.lora_weights = lora_weights(model)
        self.tokens = 0  # computed by this process

    def __call__(self, rows: Sequence[Row], *, number: int) -> Tensor:
        """Compute the gradients of an optimizer batch, and return its loss in fp32.

        Args:
            number: the number of optimizer steps before it.

        Raises:
            TrainingError: if not even one row at a time fits into memory.
            PeerLostError: if another process of the run has died.
        """
        loss = self._own_share(rows, number)
        if self.world.size == 1:
            return loss
        self.world.all_reduce_gradients(self.trainable_parameters)
        return loss.new_tensor(self.world.all_reduce_sum(float(loss))[0])

    def _own_share(self, rows: Sequence[Row], number: int) -> Tensor:
        """Compute loss and gradients of this rank's rows, weighted by their part in the batch.

        After an out-of-memory error they are computed again with half the budget. Loss and
        gradients stay the same, as dropout does not depend on how a batch is split.
        """
        while True:
            cuts = self._cut(rows)
            try:
                return self._gradients(rows, cuts, number)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                longest = max(len(row["input_ids"]) for row in rows)
                if self.lockstep or all(len(one) <= 1 for one in cuts):
                    raise TrainingError(self._does_not_fit(number, longest)) from error
                # Halve the budget, or the largest micro-batch if the batch never filled the budget.
                tried = max(sum(len(rows[r]["input_ids"]) for r in one) for one in cuts)
                self.budget = max(min(self.budget, tried) // 2, 1)
                self.out_of_memory += 1
            self.model.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.say(
                f"Out of memory at step {number + 1}: repeating it, and continuing, with "
                f"trainer.max_tokens_per_micro_batch={self.budget}."
            )

    def _does_not_fit(self, number: int, longest: int) -> str:
        if self.lockstep:
            return (
                f"Step {number + 1}: out of memory with {self.budget} tokens per micro-batch. With "
                "a sharded base model a step cannot be repeated. Add "
                f"trainer.max_tokens_per_micro_batch={self.budget // 2} to the command to resume "
                "from the last checkpoint."
            )
        return (
            f"Step {number + 1}: out of memory with a single row of {longest} tokens. "
            f"{memory_advice(self.model)}"
        )

    def _cut(self, rows: Sequence[Row]) -> list[list[int]]:
        """Return the row numbers of this rank's micro-batches."""
        lengths = np.array([len(row["input_ids"]) for row in rows])
        rank_of_row = assign_rows_to_ranks(lengths, self.world.size)
        budget = self.budget if supports_packing(self.model) else 1
        cuts = [
            [
                [int(own[place]) for place in one]
                for one in pack_first_fit(lengths[own].tolist(), budget)
            ]
            for own in (np.flatnonzero(rank_of_row == rank) for rank in range(self.world.size))
        ]
        own_cuts = cuts[self.world.rank]
        if self.lockstep:
            # A pass without rows computes the batch's shortest row with all weights 0.
            own_cuts += [[]] * (max(map(len, cuts)) - len(own_cuts))
        return own_cuts

    def _gradients(self, rows: Sequence[Row], cuts: list[list[int]], number: int) -> Tensor:
        weights = label_weights(rows, self.average)
        device = self.model.device
        total = torch.zeros((), device=device)
        shortest = min(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
        tokens = 0
        with cast_once(self.lora_weights, DTYPES[self.precision]):
            for chosen in cuts:
                nothing = not chosen
                batch = pack_rows(
                    rows, chosen or [shortest], [0.0] * len(rows) if nothing else weights
                ).to(device)
                self.keys.now = token_keys(self.seed, number, batch.rows, batch.lengths, device)
                total += self._one(batch).to(device)
                tokens += 0 if nothing else sum(batch.lengths)
        self.keys.now = None
        self.tokens += tokens
        return total

    def _one(self, batch: MicroBatch) -> Tensor:
        # The backward pass is inside, as activation checkpointing needs the same attention.
        with packed_attention(self.model):
            with autocast(self.model.device, self.precision):
                loss = loss_of(self.model, batch)
            self.backward(loss)
        return loss.detach()


def out_of_memory(error: Exception) -> bool:
    """Return whether torch or a CUDA library ran out of memory."""
    # On a CPU, and for CUDA's libraries, torch raises a plain RuntimeError.
    known = ("can't allocate memory", "CUDA error: out of memory", "_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(one in str(error) for one in known)
