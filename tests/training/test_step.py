"""One optimizer batch: out of memory it is done again, and nothing else changes."""

import json
from pathlib import Path

import pytest
import torch

from anima_exp.errors import TrainingError
from anima_exp.experiment.run import run
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.training import step as step_module

pytestmark = pytest.mark.usefixtures("shown")

FEW = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=6", "trainer.batch_size=8",
    "trainer.log_every=1", "trainer.save_every=3", "trainer.max_tokens_per_micro_batch=1000",
    "evals=[]",
    "lora.dropout=0.3", "tracking=none",
)  # fmt: skip


@pytest.fixture
def config(compose, tmp_path):
    def _config(name, *overrides):
        return compose(f"run_dir={tmp_path}/{name}", *FEW, *overrides)

    return _config


def losses(config):
    rows = JsonLinesLog(Path(config.run_dir) / "metrics.jsonl").rows()
    return [row["loss"] for row in rows if "loss" in row]


def memory_for(monkeypatch, tokens, error):
    """From here on more than `tokens` tokens fail, with half of their gradients added."""
    whole = step_module.loss_of

    def loss_of(model, batch):
        loss = whole(model, batch)
        if batch.ids.shape[1] > tokens:
            loss.backward()
            raise error
        return loss

    monkeypatch.setattr(step_module, "loss_of", loss_of)


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=["gpu", "cpu"])
def test_out_of_memory_the_loss_curve_is_the_same(config, monkeypatch, capsys, error):
    plain, short = config("plain"), config("short")
    run(plain)
    capsys.readouterr()
    memory_for(monkeypatch, 90, error)
    run(short)
    assert losses(short) == pytest.approx(losses(plain), rel=1e-5)
    assert len(set(losses(short))) == 6
    said = capsys.readouterr().out
    assert "Out of memory at step 1: repeating it, and continuing, with" in said
    assert "trainer.max_tokens_per_micro_batch=" in said
    assert said.count("Out of memory") < 4  # it is remembered
    record = Record.load(Path(short.run_dir))
    assert 0 < record.execution["token_budget"] <= 90
    assert record.execution["out_of_memory"] == said.count("Out of memory")


def test_the_budget_that_memory_taught_survives_an_interruption(config, monkeypatch, capsys):
    from anima_exp.errors import RunPaused

    short = config("short")
    memory_for(monkeypatch, 90, NO_MEMORY[0])
    with pytest.raises(RunPaused):
        run(short, until=3)
    learnt = json.loads((Path(short.run_dir) / "checkpoints/checkpoint-3/meter.json").read_text())
    assert learnt["token_limit"] <= 90
    capsys.readouterr()
    run(short)
    assert "Out of memory" not in capsys.readouterr().out


ROWS = "Lower data.max_tokens (conversations), data.max_prompt_tokens"
LOWER = f"{ROWS}, data.max_response_tokens or lora.rank"


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (
            ["quant=none", "trainer.activation_checkpointing=none"],
            f"{LOWER}, or use trainer.activation_checkpointing=full, quant=nf4.",
        ),
        (
            ["quant.cache_dequantized=true", "trainer.activation_checkpointing=selective"],
            f"{LOWER}, or use trainer.activation_checkpointing=full, "
            "quant.cache_dequantized=false.",
        ),
        (["quant.cache_dequantized=false", "trainer.activation_checkpointing=full"], f"{LOWER}."),
        (
            ["lora=full_finetune", "quant=none", "trainer.activation_checkpointing=full"],
            f"{ROWS} or data.max_response_tokens, or use lora=all_linear.",
        ),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_a_single_row_that_does_not_fit_ends_the_run_with_what_can_still_help(
    config, monkeypatch, settings, advice
):
    memory_for(monkeypatch, 5, NO_MEMORY[0])
    with pytest.raises(TrainingError, match=r"a single row of \d+ tokens\.") as refused:
        run(config("none", *settings))
    assert str(refused.value).endswith(f" tokens. {advice}")


def test_another_error_is_not_taken_for_it(config, monkeypatch):
    memory_for(monkeypatch, 5, RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        run(config("bug"))
