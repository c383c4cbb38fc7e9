"""What the loop computes; a step that nothing can be learnt from ends it, with the reason."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anima_exp.errors import TrainingError
from anima_exp.experiment.run import run
from anima_exp.experiment.setup import load
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.training.loop import check_step
from anima_exp.training.step import GradientStep

DIVERGED = "The run has diverged: lower optimizer.learning_rate"


@pytest.mark.parametrize(
    ("step", "loss", "norm", "labels", "message"),
    [
        (2, math.nan, 1.0, True, f"Step 2: the loss is nan. {DIVERGED}"),
        (2, math.inf, None, True, f"Step 2: the loss is inf. {DIVERGED}"),
        (2, 3.9, math.inf, True, f"Step 2: the gradient is not finite (norm inf). {DIVERGED}"),
        (2, 3.9, math.nan, True, f"Step 2: the gradient is not finite (norm nan). {DIVERGED}"),
        (2, 3.9, 0.0, True, "Step 2: every gradient is exactly 0, unlike at the step before."),
        (2, 3.9, 0.0, True, DIVERGED),
        (2, 0.0, 0.0, False, "Step 2: no row of the batch has a label"),
        (1, 3.9, 0.0, True, "Step 1: no trained weight has a gradient, because the loss"),
    ],
)
def test_a_step_without_a_use_says_why(step, loss, norm, labels, message):
    with pytest.raises(TrainingError) as error:
        check_step(step, loss, norm=norm, labels=labels)
    assert message in str(error.value)


def test_a_step_that_teaches_passes():
    check_step(1, 3.9, norm=1.0, labels=True)
    check_step(2, 3.9, norm=None, labels=True)  # fp16: the loss scaler may skip it


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "something else"])
def test_no_memory_for_the_optimizers_states_is_one_line(compose, tmp_path, monkeypatch, words):
    def step(self, closure=None):
        raise RuntimeError(words)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    config = compose(*SEVEN_STEPS, "trainer.max_steps=1", f"run_dir={tmp_path}/run")
    with pytest.raises(RuntimeError if "else" in words else TrainingError) as error:
        run(config)
    if "else" not in words:
        assert str(error.value) == (
            "Step 1: out of memory for the optimizer states. "
            "Use optimizer=paged_adamw_8bit, or lower lora.rank."
        )


def test_every_part_of_the_model_trains_though_nothing_was_evaluated_before(
    compose, tmp_path, monkeypatch
):
    modes, step = [], GradientStep.__call__

    def watched(self, *batch, **more):
        modes.append({part.training for part in self.model.modules()})
        return step(self, *batch, **more)

    monkeypatch.setattr(GradientStep, "__call__", watched)
    settings = (*SEVEN_STEPS, "trainer.max_steps=1", "trainer.eval_at_start=false")
    run(compose(*settings, f"run_dir={tmp_path}/run"))
    assert modes == [{True}]


SEVEN_STEPS = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=7", "trainer.batch_size=4",
    "evals=[]",
    "trainer.log_every=1", "tracking=none", "optimizer=adamw", "optimizer.schedule=linear",
    "optimizer.warmup_ratio=0.4", "optimizer.weight_decay=0.1", "optimizer.beta2=0.98",
    "optimizer.max_grad_norm=0.5",
)  # fmt: skip


def test_seven_steps_are_those_written_by_hand_to_the_last_bit(compose, tmp_path):
    config = compose(*SEVEN_STEPS, f"run_dir={tmp_path}/run")
    run(config)
    rows = JsonLinesLog(tmp_path / "run" / "metrics.jsonl").rows()
    curve = [row for row in rows if "loss" in row]

    setup = load(config)
    model = setup.model.train()
    gradients = GradientStep(
        model,
        setup.dropout,
        budget=setup.execution.token_budget,
        precision=config.trainer.precision,
        average=config.trainer.loss_normalization,
        seed=config.seed,
        backward=torch.Tensor.backward,
        say=print,
    )
    learn = [weight for weight in model.parameters() if weight.requires_grad]
    adamw = torch.optim.AdamW(
        learn, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1, lr=0.0, fused=True
    )
    for step in range(7):
        batch = [setup.data.train[row] for row in setup.order[4 * step : 4 * step + 4]]
        loss = gradients(batch, number=step)
        norm = torch.nn.utils.clip_grad_norm_(learn, 0.5)
        up, down = step / 3, (7 - step) / 4  # three steps up from 0, four down
        adamw.param_groups[0]["lr"] = config.optimizer.learning_rate * min(up, down)
        found = curve[step]
        assert (found["step"], found["loss"], found["grad_norm"], found["learning_rate"]) == (
            step + 1, float(loss), float(norm), adamw.param_groups[0]["lr"],
        )  # fmt: skip
        adamw.step()
        adamw.zero_grad()
    trained = load_file(Path(config.run_dir) / "adapter" / "adapter_model.safetensors")
    ours = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(ours) == len(trained) > 0
    for name, weight in ours.items():
        assert torch.equal(trained[name.replace(".default", "")], weight)
