"""Train a model: take one optimizer step per batch, and log, evaluate and save when it is due.

With several processes, each executes this loop and receives every batch in full. step.py computes
its part and all-reduces the gradients. So all take the same optimizer steps, a checkpoint looks
like that of one process, and a run can resume with any number of them.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from anima_exp.config import Precision, RunConfig
from anima_exp.data.micro_batch import Row, label_count
from anima_exp.data.rows import TokenizedDataset
from anima_exp.distributed.world import ProcessGroup
from anima_exp.errors import TrainingError
from anima_exp.events import say_anyway
from anima_exp.libraries.bitsandbytes_internals import paged_bytes
from anima_exp.model.hashed_dropout import DropoutKeys
from anima_exp.results.provenance import peak_memory_gib
from anima_exp.system.atomic import disk_errors_as_run_error
from anima_exp.training import checkpoint, old_state, state, weights
from anima_exp.training.best import Best, restore_best, write_weights
from anima_exp.training.data_order import set_seed
from anima_exp.training.first_gradients import check_first_gradients
from anima_exp.training.meter import Meter
from anima_exp.training.optimizer import make_optimizer, make_schedule
from anima_exp.training.step import GradientStep, out_of_memory
from anima_exp.training.stop import StopAfterStep

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Loop:
    """The training loop of one process.

    Args:
        rows: indexable; each item holds `input_ids` and `labels` of one row.
        order: row numbers, [steps * batch_size] or fewer, as the last batch may be short.
        keys: the object that holds the current dropout keys (model/hashed_dropout.py).
        token_budget: the initial number of tokens in one micro-batch.
        paged: whether optimizer states may have to leave the GPU (optimizer.py).
        world: the processes that share the run; the main process writes.
        lockstep: whether all ranks must run the same number of passes (step.py).
        folder: the folder for checkpoints.
        log: called with a dict of `step` and the measured values.
        vouch: flushes the journal to the disk, and returns its state for a checkpoint.
        evaluate: called with the step; evaluates the model and returns the scores.
        best: the best evaluation so far.
    """

    def __init__(
        self,
        *,
        model: "PreTrainedModel | PeftModel",
        tokenizer: "PreTrainedTokenizerBase",
        rows: TokenizedDataset,
        order: NDArray[np.int64],
        config: RunConfig,
        keys: DropoutKeys,
        token_budget: int,
        paged: bool,
        world: ProcessGroup,
        lockstep: bool,
        folder: Path,
        log: Callable[[dict[str, Any]], None],
        vouch: Callable[[], dict[str, Any]],
        evaluate: Callable[[int], dict[str, float]],
        best: Best,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.rows, self.order = rows, order
        self.config, self.world, self.folder = config, world, folder
        self.paged = paged
        self.log, self.vouch, self.evaluate, self.best = log, vouch, evaluate, best
        self.steps = math.ceil(len(order) / config.trainer.batch_size)
        self.done, self.checked = 0, False  # optimizer steps; whether the first one was checked
        self.meter = Meter()
        self.fp16 = config.trainer.precision is Precision.fp16
        # Gradients in fp16 would underflow, so the loss is multiplied by a large number.
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=self.fp16)
        self.step = GradientStep(
            model,
            keys,
            budget=token_budget,
            precision=config.trainer.precision,
            average=config.trainer.loss_normalization,
            seed=config.seed,
            backward=lambda loss: self.scaler.scale(loss).backward(),  # type: ignore[no-untyped-call]
            say=say_anyway,
            world=world,
            lockstep=lockstep,
        )
        set_seed(config.seed)
        model.config.use_cache = False

    def train(self, resume: Path | None, stop: StopAfterStep, *, until: int | None) -> None:
        """Take optimizer steps up to the last one, to step `until`, or until a stop is requested.

        A run whose evaluations stop improving (trainer.patience) ends early.

        Args:
            resume: a complete checkpoint to resume from.

        Raises:
            TrainingError: if a loss or gradient is not finite, or gradients are missing.
        """
        trainer = self.config.trainer
        if self.world.is_main:
            checkpoint.clear_drafts(self.folder)
        if resume:
            weights.load(self.model, resume)
        self.optimizer = make_optimizer(self.model, self.config.optimizer, paged=self.paged)
        self.schedule = make_schedule(self.optimizer, self.config.optimizer, steps=self.steps)
        # torch's DataLoader, which earlier versions used, drew a number at its start. A base with
        # dropout of its own draws after it, and must draw the same as before.
        torch.empty((), dtype=torch.int64).random_()
        if resume:
            self._resume(resume)
        # PEFT wraps a base in evaluation mode in an adapter in training mode.
        self.model.train()
        self.meter.start_clock()
        while self.done < self.steps and not self.best.exhausted:
            norm, rate = self._optimizer_step(self._batch(self.done))
            self.done += 1
            last = self.done == self.steps
            if trainer.eval_every and self.done % trainer.eval_every == 0 and not last:
                self.judge(self.evaluate(self.done))
                self.meter.start_clock()
            # The evaluation after the last step is the run's own (experiment/run.py).
            paused = until is not None and until <= self.done
            ends = stop.wanted() or last or paused or self.best.exhausted
            if self.done % trainer.log_every == 0:
                self._log(norm, rate)
            if self.done % trainer.save_every == 0 or ends:
                self._save()
            if ends:
                break
        stop.wanted()  # a request may have arrived while the last checkpoint was written

    def load_weights(self, resume: Path) -> None:
        """Load only the trained weights of a checkpoint, for an evaluation."""
        weights.load(self.model, resume)
        self.done = checkpoint.step(resume)

    def judge(self, scores: dict[str, float]) -> None:
        """Count an evaluation of the current model, and save its weights if it is the best."""
        if not self.best.metric:
            return
        scores = self.world.run_on_main(lambda: self.best.checked(scores))
        if self.best.judge(self.done, scores) and self.best.keeps:
            self.world.run_on_main(lambda: write_weights(self.model, self.folder))

    def _batch(self, number: int) -> list[Row]:
        size = self.config.trainer.batch_size
        return [self.rows[int(row)] for row in self.order[number * size : (number + 1) * size]]

    def _optimizer_step(self, batch: list[Row]) -> tuple[float, float]:
        """Train on one batch, and return the gradient norm and the learning rate."""
        optimizer = self.config.optimizer
        loss_here = self.step(batch, number=self.done)
        if self.step.out_of_memory:
            self.meter.token_limit = self.step.budget
            self.meter.out_of_memory = self.step.out_of_memory
        self.scaler.unscale_(self.optimizer)
        norm_here: Tensor = clip_grad_norm_(
            self.step.trainable_parameters, optimizer.max_grad_norm or math.inf
        )
        # Both are read in one transfer, as each waits for the GPU.
        norm, loss = torch.stack([norm_here, loss_here.to(norm_here.device)]).tolist()
        self.meter.step(loss, tokens=sum(len(row["input_ids"]) for row in batch))
        check_step(
            self.done + 1,
            loss,
            norm=None if self.fp16 else norm,  # the scaler skips steps whose gradients overflow
            labels=any(label_count(row) for row in batch),
        )
        if not self.checked and math.isfinite(norm) and norm:  # fp16 may skip the first steps
            check_first_gradients(self.model, self.config.model.accept)
            self.checked = True
        rate = float(self.optimizer.param_groups[0]["lr"])
        scale = self.scaler.get_scale()
        self._apply_gradients()
        self.scaler.update()
        if self.scaler.get_scale() >= scale:  # else the step was skipped
            self.schedule.step()
        self.optimizer.zero_grad()
        return norm, rate

    def _apply_gradients(self) -> None:
        try:
            self.scaler.step(self.optimizer)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"Step {self.done + 1}: out of memory for the optimizer states. Use "
                "optimizer=paged_adamw_8bit, or lower lora.rank."
            ) from error

    def _log(self, norm: float, rate: float) -> None:
        seen = min(self.done * self.config.trainer.batch_size, len(self.order))
        # In fp16 a step that the scaler skips has no finite gradient norm.
        norms = {"grad_norm": norm} if math.isfinite(norm) else {}
        self.log(
            {
                "step": self.done,
                "epoch": seen / len(self.rows),
                **self.meter.drain(),
                **norms,
                "learning_rate": rate,
                "memory_gib": peak_memory_gib(self.paged_bytes()),
            }
        )

    def paged_bytes(self) -> dict[int, int]:
        """Return GPU -> bytes of optimizer states that may move to CPU memory."""
        optimizer = getattr(self, "optimizer", None)  # there is none before training starts
        return paged_bytes(optimizer) if optimizer else {}

    def _save(self) -> None:
        self.world.run_on_main(self._write_checkpoint)
        self.meter.start_clock()

    def _write_checkpoint(self) -> None:
        try:
            with disk_errors_as_run_error(self.folder):
                journal = self.vouch()
                draft = self.folder / checkpoint.DRAFT / f"checkpoint-{self.done}"
                draft.mkdir(parents=True)
                weights.save(self.model, draft)
                self.tokenizer.save_pretrained(draft)
                now = state.state_of(self.optimizer, self.schedule, self.scaler)
                state.save(draft, now, state.RandomState.now())
                self.meter.save(draft)
                self.best.save(self.folder, draft)
                keep = self.config.trainer.max_checkpoints
                checkpoint.publish(draft, self.folder, keep=keep, journal=journal)
        except BaseException:
            checkpoint.clear_drafts(self.folder)  # a partial draft would use up disk space
            raise

    def _resume(self, folder: Path) -> None:
        read = state.load if (folder / state.FILE).exists() else old_state.load
        result, random = read(folder)
        state.restore(result, self.optimizer, self.schedule, self.scaler)
        random.restore()
        self.done, self.checked = checkpoint.step(folder), True
        self.meter = Meter.load(folder)
        self.best.load(folder)
        if self.best.keeps:
            self.world.run_on_main(lambda: restore_best(folder))
        self.step.out_of_memory = self.meter.out_of_memory
        if self.meter.token_limit is not None:
            self.step.budget = min(self.step.budget, self.meter.token_limit)


_DIVERGED = (
    "The run has diverged: lower optimizer.learning_rate, or use trainer.precision=bf16 or fp32."
)


def check_step(step: int, loss: float, *, norm: float | None, labels: bool) -> None:
    """Raise TrainingError if the model cannot be trained with step number `step` (from 1).

    Args:
        norm: the norm of all gradients; None if the optimizer may skip the step.
        labels: whether any row of the batch has a label.
    """
    if not math.isfinite(loss):
        raise TrainingError(f"Step {step}: the loss is {loss}. {_DIVERGED}")
    if norm is None or (norm and math.isfinite(norm)):
        return
    if norm:
        raise TrainingError(f"Step {step}: the gradient is not finite (norm {norm}). {_DIVERGED}")
    if not labels:
        raise TrainingError(
            f"Step {step}: no row of the batch has a label, so no trained weight has a gradient. "
            "Look at the data with anima-exp data."
        )
    if step > 1:
        # The adapter is connected, since the step before had a gradient. With huge weights a
        # normalization layer divides by infinity, so its output and all gradients are exactly 0.
        # It depends on the processor whether this happens or the loss becomes NaN.
        raise TrainingError(
            f"Step {step}: every gradient is exactly 0, unlike at the step before. {_DIVERGED}"
        )
    raise TrainingError(
        f"Step {step}: no trained weight has a gradient, because the loss does not depend on the "
        "adapter. This model or adapter cannot be trained here."
    )
