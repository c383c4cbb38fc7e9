"""What `python -m anima_exp.plan` prints, for a run and for a grid."""

import os
import subprocess
import sys

import pytest

from anima_exp.plan.cost import cost
from anima_exp.plan.grid import show_grid
from anima_exp.plan.report import show
from anima_exp.plan.words import hours, many, size
from anima_exp.results import screen


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(screen, "console", Console(width=150, highlight=False))


def plan(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "anima_exp.plan", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_a_run_is_told_from_its_weights_to_its_hours(compose, capsys):
    show(cost(compose("model=guanaco33b", "data=belle_merge")))
    told = capsys.readouterr().out
    for part in (
        "32.5 B parameters", "their constants", "LoRA, 488 M parameters", "gradients",
        "can move to CPU memory", "none", "selective", "full", "loss", "RTX 4090", "H200",
        "10,000 of 16 rows", "390 GB", "assumption",
    ):  # fmt: skip
        assert part in told


def test_65b_in_16_bits_needs_more_than_780_gb(compose):
    assert cost(compose("model=llama65b")).full_fine_tuning > 780e9


def test_what_the_user_gave_is_what_is_shown(compose, capsys):
    given = ("trainer.token_budget=2048", "trainer.recompute=full")
    show(cost(compose("model=llama7b", "data=oasst1", *given)))
    told = capsys.readouterr().out
    assert "With 2,048 tokens at once (trainer.token_budget)" in told
    assert "selective" not in told


def test_a_run_that_fits_no_card_says_so(compose, capsys):
    show(cost(compose("model=llama65b", "data=alpaca", "lora=none", "quant=none")))
    assert "fits none of these cards" in capsys.readouterr().out


def test_recomputing_and_dequantising_cost_time(compose):
    def seconds(*how):
        return cost(compose("model=llama7b", "data=alpaca", *how)).on_cards[-1].seconds_per_step

    assert seconds("trainer.recompute=full") > 1.3 * seconds("trainer.recompute=none")
    assert seconds("quant.keep_dequantized=false") > seconds("quant.keep_dequantized=true")
    assert seconds("trainer.precision=fp32") > 1.9 * seconds("trainer.precision=bf16")


def test_a_grid_has_a_sum_and_names_what_does_not_fit(compose, capsys):
    cells = [(f"model={m}", compose(f"model={m}", "data=oasst1")) for m in ("llama7b", "llama65b")]
    show_grid(cells)
    told = capsys.readouterr().out
    assert "all 2 cells" in told
    assert (
        "RTX 4090, 24 GB: 1 of 2 cells do not fit, and are not in its sum: model=llama65b" in told
    )
    both = [cost(config) for _, config in cells]
    assert hours(sum(one.hours(one.on_cards[-1]) for one in both)) in told


def test_the_commands_of_a_run_and_a_grid():
    run = plan("model=qwen3_8b", "data=alpaca")
    assert run.returncode == 0, run.stderr
    assert "8.19 B parameters" in run.stdout
    grid = plan("-m", "model=llama7b", "data=oasst1", "seed=1,2")
    assert grid.returncode == 0, grid.stderr
    assert "all 2 cells" in grid.stdout


def test_a_mistake_is_one_line():
    run = plan("model=local", "model.source=/no/such/folder")
    assert run.returncode == 1
    assert run.stderr.startswith("anima_exp: model.source=/no/such/folder")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (size(0), "0 B"), (size(2**30), "1.00 GiB"), (size(150 * 2**30), "150 GiB"),
        (many(805_376), "805,376"), (many(32.5e9), "32.5 B"),
        (hours(None), "-"), (hours(0.5), "30 min"), (hours(0.001), "< 1 min"),
        (hours(40.7), "40.7 h"),
    ],
)  # fmt: skip
def test_numbers_are_short(written, expected):
    assert written == expected
