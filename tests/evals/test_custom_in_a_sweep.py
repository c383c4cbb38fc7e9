"""Evaluations and benchmarks of the user's own in a sweep, a comparison, a card and evaluate."""

import json
import os
import subprocess
import sys

import pytest

from anima_exp.results.record import Record

MINE = """
from anima_exp.evals.multiple_choice.benchmark import Benchmark, Question, Subject
from anima_exp.evals.custom import EvalContext, scored

@scored("minimize", unit="steps away", decimals=2)
def change_rate(context: EvalContext, times: float = 1.0) -> float:
    assert len(context.generate([*context.heldout[:1], "2+3"], max_new_tokens=2)) == 2
    trained = [p for p in context.model.parameters() if p.requires_grad]
    return times * sum(float(p.abs().mean()) for p in trained)

def law():
    questions = tuple(Question(f"{n}+1?", (str(n + 1), str(n + 2)), 0) for n in range(2))
    return Benchmark("law", (Subject("civil", "civil law", questions),), {"civil": "private"})
"""
SWEEP = [
    "-m", "optimizer.learning_rate=1e-7,4e-2", "trainer.max_steps=3", "trainer.eval_every=1",
    "data.max_rows=100", "data.heldout_rows=8", "evals=[heldout]", "tracking=none", "quant=none",
    "sweep.metric=change_rate", "sweep.early_stopping=asha", "sweep.reduction_factor=2",
    "sweep.rungs=1",
]  # fmt: skip
EVALS = [
    "evals.custom.change_rate.function=my_own.change_rate", "evals.custom.change_rate.times=2",
    "evals.benchmarks.law.source=my_own.law", "evals.benchmarks.law.shots=0",
    "evals.benchmarks.law.prompt=bare", "evals.benchmarks.law.score=answer",
]  # fmt: skip


def start(folder, program, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"anima_exp.{program}", *map(str, arguments)],
        cwd=folder, env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(folder, what the sweep printed): the cell that learns nothing changes the least."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "my_own.py").write_text(MINE)
    ended = start(folder, "train", *SWEEP, *EVALS)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def winner(folder):
    (record,) = (folder / "runs").glob("*/record.json")
    return record.parent


def test_early_stopping_keeps_the_cell_that_the_evaluation_calls_better(swept):
    folder, told = swept
    run = Record.load(winner(folder))
    assert run.settings["optimizer.learning_rate"] == 1e-7
    value = f"{run.scores['change_rate']:.2f} steps away"
    assert f"best     change_rate {value}: optimizer.learning_rate=1e-07" in told
    assert f"done, change_rate {value}" in told


def test_the_record_describes_the_scores_for_other_programs(swept):
    metrics = Record.load(winner(swept[0])).metrics
    assert metrics["change_rate"] == {
        "direction": "minimize", "unit": "steps away", "decimals": 2, "percent": False,
    }  # fmt: skip
    assert metrics["law"]["percent"] is metrics["law_micro"]["percent"] is True


def test_a_comparison_ranks_by_it_without_the_module(swept, tmp_path):
    folder, _ = swept
    (sweep,) = (folder / "runs" / "sweeps").iterdir()
    ended = start(tmp_path, "compare", sweep)
    assert ended.returncode == 0, ended.stderr
    assert "change_rate, smaller is better" in ended.stdout
    assert "steps away" in ended.stdout
    assert "50.0 %" in ended.stdout or "100.0 %" in ended.stdout or "0.0 %" in ended.stdout


def test_the_model_card_lists_it_with_its_unit_and_its_place(swept):
    run = winner(swept[0])
    card = (run / "adapter" / "README.md").read_text()
    value = f"{Record.load(run).scores['change_rate']:.2f} steps away"
    (line,) = (line for line in card.splitlines() if line.startswith("| change\\_rate"))
    assert f"| {value} | my\\_own.change\\_rate, a function that is not part of" in line
    assert "| 2 questions, no examples each; mean over subjects |" in card


@pytest.mark.slow
def test_measured_again_the_run_has_the_same_scores(swept):
    folder, _ = swept
    run = winner(folder)
    ended = start(folder, "evaluate", f"run={run}", "evals=[]", *EVALS)
    assert ended.returncode == 0, ended.stderr
    (file,) = (run / "evaluations").glob("*.json")
    found, record = json.loads(file.read_text()), Record.load(run)
    assert found["scores"]["law"] == record.scores["law"]
    assert found["scores"].keys() == {"law", "law_micro", "change_rate"}
    assert found["metrics"] == record.metrics
    assert "civil" not in ended.stdout
    assert "private" in ended.stdout
