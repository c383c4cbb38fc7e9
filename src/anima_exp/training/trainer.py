"""transformers' Trainer with our row order, log lines, evaluations and whole checkpoints.

Of several processes that share a run, each has a Trainer that thinks itself alone and is given
every batch whole: step.py computes a share of it and sums the gradients. So checkpoints are those
of one process, and a run goes on with any number of them.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from anima_exp.config import RunConfig
from anima_exp.data.micro_batch import label_count
from anima_exp.errors import TrainingError
from anima_exp.events import say_anyway
from anima_exp.model.adapter import cast_adapter
from anima_exp.model.dropout import TokenKeys
from anima_exp.parallel.world import World
from anima_exp.results.files import writing
from anima_exp.results.provenance import peak_memory_gib
from anima_exp.training import checkpoint
from anima_exp.training.arguments import training_arguments
from anima_exp.training.libraries import PrinterCallback, Trainer, TrainerCallback
from anima_exp.training.meter import Meter
from anima_exp.training.order import FixedOrder
from anima_exp.training.step import Step

Log = Callable[[dict[str, Any]], None]


class QLoraTrainer(Trainer):
    """Trains `model` on `rows` in `order`; calls `log` with each line, `evaluate` when it is time.

    Args:
        rows: indexable; each item holds `input_ids` and `labels` of one row.
        order: row numbers, `[steps * batch_size]` or fewer: the last batch may be short.
        keys: what the model's dropout masks come from (model/dropout.py).
        token_budget: tokens of one forward pass, to begin with.
        world: the processes that share the run; the first writes.
        in_step: see step.py.
        folder: where checkpoints go.
        log: takes a dict with `step` and what was measured.
        vouch: brings the journal to the disk, and returns what a checkpoint is to know of it.
        evaluate: takes the step; measures the model as it stands.

    Raises:
        TrainingError: a loss or gradient that is not finite, or a step without any gradient.
    """

    def __init__(
        self,
        *,
        model: Any,
        tokenizer: Any,
        rows: Any,
        order: NDArray[np.int64],
        config: RunConfig,
        keys: TokenKeys,
        token_budget: int,
        world: World,
        in_step: bool,
        folder: Path,
        log: Log,
        vouch: Callable[[], dict[str, Any]],
        evaluate: Callable[[int], None],
        callbacks: list[TrainerCallback],
    ) -> None:
        self.order = order
        self.world = world
        self.folder = folder
        self.batch_size = config.trainer.batch_size
        self.keep_checkpoints = config.trainer.keep_checkpoints
        self.lora_dtype = config.lora.dtype
        self.rows_seen_once = len(rows)
        self.write_log = log
        self.vouch = vouch
        self._last: tuple[Tensor, int, bool]  # of this step: loss, tokens, whether it has labels
        self.meter = Meter()
        self.step = Step(
            model,
            keys,
            budget=token_budget,
            precision=config.trainer.precision,
            average=config.trainer.loss_average,
            seed=config.seed,
            backward=self._backward,
            say=say_anyway,
            world=world,
            in_step=in_step,
        )
        steps = math.ceil(len(order) / config.trainer.batch_size)
        super().__init__(
            model=model,
            args=training_arguments(config, steps=steps, folder=folder),
            train_dataset=rows,
            processing_class=tokenizer,
            data_collator=list,  # type: ignore[arg-type]  # step.py cuts rows into micro-batches
            callbacks=[
                _EvaluateEvery(config.trainer.eval_every, self._pause_for(evaluate)),
                *callbacks,
            ],
        )
        self.remove_callback(PrinterCallback)  # it prints raw dicts

    def train_from(self, resume: Path | None) -> None:
        """Train to the last step, from the checkpoint `resume` or from the beginning."""
        if self.world.leads:
            checkpoint.clear_drafts(self.folder)
        if resume:
            self.meter = Meter.load(resume)
            self.step.out_of_memory = self.meter.out_of_memory
            if self.meter.token_limit is not None:
                self.step.budget = min(self.step.budget, self.meter.token_limit)
        self.meter.start_clock()
        self.train(resume_from_checkpoint=str(resume) if resume else None)

    def load_weights(self, resume: Path) -> None:
        """The trained weights of a checkpoint alone, to measure them."""
        self._load_from_checkpoint(str(resume))

    def _pause_for(self, evaluate: Callable[[int], None]) -> Callable[[int], None]:
        def paused(step: int) -> None:
            evaluate(step)
            self.meter.start_clock()

        return paused

    def _get_train_sampler(self, train_dataset: Any = None) -> FixedOrder:
        return FixedOrder(self.order)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        model.train()
        loss = self.step(inputs, number=self.state.global_step)
        if self.step.out_of_memory:
            self.meter.token_limit = self.step.budget
            self.meter.out_of_memory = self.step.out_of_memory
        tokens = sum(len(row["input_ids"]) for row in inputs)
        self._last = loss, tokens, any(label_count(row) for row in inputs)
        return loss

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)  # which scales it, with fp16

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # its estimate wants padded batches; plan/flops.py has a better one

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        # Called once before each optimizer step, with gradients still there.
        norm = float(super()._get_grad_norm(model, grad_norm))  # type: ignore[no-untyped-call]
        loss_now, tokens, labels = self._last
        step, loss = self.state.global_step + 1, float(loss_now)
        self.meter.step(loss, tokens=tokens)
        # With fp16 the loss scaler skips steps whose gradients overflow.
        check_step(step, loss, norm=None if self.args.fp16 else norm, labels=labels)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" not in logs:  # the Trainer's own summary; record.json has a better one
            return
        step = self.state.global_step
        row = {
            "step": step,
            "epoch": min(step * self.batch_size, len(self.order)) / self.rows_seen_once,
            **self.meter.drain(),
            "grad_norm": logs["grad_norm"],
            "learning_rate": logs["learning_rate"],
            "memory_gib": peak_memory_gib(),
        }
        self.write_log(row)
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, row)

    def _get_output_dir(self, trial: Any = None) -> str:
        return str(self.folder / checkpoint.DRAFT)

    def _save_checkpoint(self, model: Any, trial: Any = None) -> None:
        self.world.share(lambda: self._write_checkpoint(model, trial))
        self.meter.start_clock()

    def _write_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            with writing(self.folder):
                journal = self.vouch()
                super()._save_checkpoint(model, trial)
                self._publish(journal)
        except BaseException:
            checkpoint.clear_drafts(self.folder)  # half of one would take the missing room
            raise

    def _publish(self, journal: dict[str, Any]) -> None:
        draft = self.folder / checkpoint.DRAFT / f"checkpoint-{self.state.global_step}"
        self.meter.save(draft)
        (draft / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody reads
        checkpoint.publish(draft, self.folder, keep=self.keep_checkpoints, journal=journal)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        cast_adapter(self.model, self.lora_dtype)  # peft loads every adapter as fp32


_DIVERGED = (
    "The run has diverged: lower optimizer.learning_rate, or use trainer.precision=bf16 or fp32."
)


def check_step(step: int, loss: float, *, norm: float | None, labels: bool) -> None:
    """Raise TrainingError if step number `step` (from 1) has nothing to learn from.

    Args:
        norm: of all gradients; None if the optimizer may skip the step.
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
            "See python -m anima_exp.data."
        )
    if step > 1:
        # The adapter is connected, since the step before had a gradient. If its weights are huge,
        # a normalisation layer divides by infinity: its output and all gradients are exactly 0.
        # Whether it comes to that or to a loss of nan depends on the processor.
        raise TrainingError(
            f"Step {step}: every gradient is exactly 0, unlike in the step before. {_DIVERGED}"
        )
    raise TrainingError(
        f"Step {step}: no trained weight has a gradient: the adapter is cut off from the loss."
    )


class _EvaluateEvery(TrainerCallback):
    def __init__(self, every: int | None, evaluate: Callable[[int], None]) -> None:
        self.every, self.evaluate = every, evaluate

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        # The evaluation after the last step is the run's own (experiment.py).
        if self.every and step % self.every == 0 and step < state.max_steps:
            self.evaluate(step)
