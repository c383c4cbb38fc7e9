"""What the GPU check compares, computed on a CPU twice: then both must agree."""

from pathlib import Path

import pytest

from check import attention, dropout, layers, loss, optimizers, packing, rows
from check.verdict import State, judge

MODULES = (packing, attention, dropout, layers, loss, optimizers)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_on_a_cpu_every_comparison_of_kernels_is_right(tmp_path, monkeypatch):
    small = [(50, 1000, dtype) for *_, dtype in loss.CASES[:2]]
    monkeypatch.setattr(loss, "CASES", small)
    monkeypatch.setattr(dropout, "SHAPES", dropout.SHAPES[2:])
    monkeypatch.setattr(attention, "CASES", [attention.CASES[4], attention.CASES[6]])
    some = rows.Rows(tmp_path, "kernels")
    some.add(rows.PART, state="begun")
    for module in MODULES:
        module.measure(some, tmp_path, "cpu")
    some.add(rows.PART, state="ended", seconds=1)
    found = rows.read(tmp_path / rows.FILE)
    judged = [one for one in judge(found) if "was not run" not in one.text]
    assert [one for one in judged if one.state not in (State.right, State.slow)] == []
    assert sum(one.state is State.right for one in judged) > 20


def test_a_mask_that_differs_in_one_bit_is_noticed(tmp_path, monkeypatch):
    real = dropout.dropped
    calls = []

    def changed(x, keys):
        calls.append(1)
        found = real(x, keys).clone()
        found[0, 0] += len(calls) == 1  # on the device, not by the CPU
        return found

    monkeypatch.setattr(dropout, "dropped", changed)
    import torch

    assert not dropout.compared(5, 6, torch.float32, "cpu")["as_cpu"]


@pytest.mark.slow
def test_a_step_at_a_true_shape_is_measured_on_a_cpu_too(tmp_path, monkeypatch):
    root = Path(__file__).resolve().parents[3]
    for place in ("benchmarks", "benchmarks/contenders"):
        monkeypatch.syspath_prepend(str(root / place))
    from check import speed

    some = rows.Rows(tmp_path, "speed")
    settings = ("trainer.precision=fp32",)
    speed.training(some, tmp_path, "small", "alpaca", settings, kernels=True, batch=4)
    measured, *kernels = rows.read(tmp_path / rows.FILE)
    assert measured["tokens_a_second"] > 0 and measured["passes_host_seconds"] > 0
    assert len(kernels) == 25 and kernels[0]["milliseconds"] >= kernels[1]["milliseconds"]


@pytest.mark.slow
def test_answers_are_timed_on_a_cpu_too(tmp_path, monkeypatch):
    root = Path(__file__).resolve().parents[3]
    for place in ("benchmarks", "benchmarks/contenders"):
        monkeypatch.syspath_prepend(str(root / place))
    from check import use

    monkeypatch.setattr(use, "NEW_TOKENS", 4)
    use._answers(rows.Rows(tmp_path, "use"), "small")
    found = rows.read(tmp_path / rows.FILE)
    assert [row["batch"] for row in found] == [1, 16] * 3
    assert all(row["tokens"] == 4 * row["batch"] for row in found)


@pytest.mark.slow
def test_a_run_that_is_killed_after_a_checkpoint_learns_the_same(tmp_path):
    from check import tiny

    resumed = tiny.found(tiny._killed_and_resumed(tmp_path, 1))
    whole = next(run for run in tiny.RUNS if run.name == "GPU bf16, rank 512, paged")
    assert resumed["starts"] == 2
    assert resumed["losses"] == tiny.found(tiny._train(tmp_path, whole, 1))["losses"]
