"""What `python -m anima_exp.plan` prints, for a run and for a grid."""

import os
import subprocess
import sys

import pytest

from anima_exp.display import console
from anima_exp.display.units import format_count, hours, size
from anima_exp.planner.cost import cost
from anima_exp.planner.execution import Placement
from anima_exp.planner.grid import show_grid
from anima_exp.planner.report import show


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(console, "console", Console(width=150, highlight=False))


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
        "10,000 of 16 rows", "390 GB", "Hours and tokens/s are estimates, not measurements",
        "a copy of the LoRA weights in bf16, during a step",
    ):  # fmt: skip
        assert part in told


def test_65b_in_16_bits_needs_more_than_780_gb(compose):
    assert cost(compose("model=llama65b")).full_fine_tuning > 780e9


def test_what_the_user_gave_is_what_is_shown(compose, capsys):
    given = ("trainer.max_tokens_per_micro_batch=2048", "trainer.activation_checkpointing=full")
    show(cost(compose("model=llama7b", "data=oasst1", *given)))
    told = capsys.readouterr().out
    assert "Memory with 2,048 tokens per micro-batch (trainer.max_tokens_per_micro_batch)" in told
    assert "selective" not in told


def test_several_cards_are_shown_way_by_way(compose, capsys):
    show(cost(compose("model=llama65b", "data=oasst1", "trainer.num_gpus=2")))
    told = capsys.readouterr().out
    head, small, large, *_ = told.split("memory of each, and training time\n")[1].splitlines()
    for heading in ("a copy on each", "sharded", "device map", "chosen", "tokens/s"):
        assert heading in head
    assert small.count("does not fit") == 2, "two of 24 GB hold it as a device map only"
    assert large.count(" GiB, ") == 3
    assert "assumed to reach 50% of their link's nominal bandwidth" in told
    assert "On one GPU" not in told


def test_cards_too_small_alone_are_shown_with_as_many_as_it_takes(compose, capsys):
    show(cost(compose("model=llama65b", "data=oasst1")))
    told = capsys.readouterr().out.split("On several GPUs, if one is too small\n")[1]
    assert "2 x RTX 4090" in told
    assert "4 x RTX 4090" in told
    assert "L40S  48" not in told, "one of these does"
    show(cost(compose("model=llama7b", "data=oasst1")))
    assert "On several GPUs" not in capsys.readouterr().out


def test_a_way_that_the_user_chose_is_the_one_that_is_told(compose):
    def placements(*given):
        found = cost(compose("model=llama33b", "data=oasst1", "trainer.num_gpus=2", *given))
        return {one.execution.placement for one in found.on_gpus}

    assert placements() == {Placement.whole}
    assert placements("trainer.fsdp=true") == {Placement.sharded}


def test_two_cards_are_faster_than_one_and_not_more_than_twice_as_fast(compose):
    def seconds(*how):
        found = cost(
            compose(
                "model=llama33b",
                "data=oasst1",
                "trainer.max_tokens_per_micro_batch=2048",
                "trainer.activation_checkpointing=full",
                "quant.cache_dequantized=false",
                *how,
            )
        )
        return found.on_gpus[-1].seconds_per_step  # fmt: skip

    assert 0.5 <= seconds("trainer.num_gpus=2") / seconds() < 0.6
    assert seconds("trainer.num_gpus=32") == pytest.approx(seconds("trainer.num_gpus=16"), rel=0.01)


def test_a_device_map_is_as_fast_as_one_card(compose):
    given = (
        "trainer.max_tokens_per_micro_batch=2048",
        "trainer.activation_checkpointing=full",
        "quant.cache_dequantized=false",
    )
    one = cost(compose("model=llama33b", "data=oasst1", *given)).on_gpus[-1]
    two = cost(compose("model=llama33b", "data=oasst1", *given, "trainer.num_gpus=2")).several[-1]
    assert two.spread.seconds_per_step == one.seconds_per_step
    assert two.spread.peak < one.peak


def test_a_cell_of_several_gpus_is_costed_as_such(compose, capsys):
    show_grid([("a", compose("model=llama65b", "data=oasst1", "launcher.gpus_per_job=4"))])
    told = capsys.readouterr().out
    assert "does not fit" not in told
    assert "on 4 GPUs per run (trainer.num_gpus, launcher.gpus_per_job)" in told


def test_a_run_that_fits_no_card_says_so(compose, capsys):
    show(cost(compose("model=llama65b", "data=alpaca", "lora=full_finetune", "quant=none")))
    assert "does not fit on any of these GPUs" in capsys.readouterr().out


def test_recomputing_and_dequantizing_cost_time(compose):
    def seconds(*how):
        rows = ("data=oasst1", "trainer.batch_size=32")
        return cost(compose("model=llama7b", *rows, *how)).on_gpus[-1].seconds_per_step

    assert seconds("trainer.activation_checkpointing=full") > 1.3 * seconds(
        "trainer.activation_checkpointing=none"
    )
    assert seconds("quant.cache_dequantized=false") > seconds("quant.cache_dequantized=true")
    assert seconds("trainer.precision=fp32") > 1.9 * seconds("trainer.precision=bf16")


def test_a_grid_has_a_sum_and_names_what_does_not_fit(compose, capsys):
    cells = [(f"model={m}", compose(f"model={m}", "data=oasst1")) for m in ("llama7b", "llama65b")]
    show_grid(cells)
    told = capsys.readouterr().out
    assert "all 2 runs" in told
    assert "RTX 4090, 24 GB: 1 of 2 runs do not fit and are not in its sum: model=llama65b" in told
    both = [cost(config) for _, config in cells]
    assert hours(sum(one.hours_on(one.on_gpus[-1]) for one in both)) in told


def test_the_commands_of_a_run_and_a_grid():
    run = plan("model=qwen3_8b", "data=alpaca")
    assert run.returncode == 0, run.stderr
    assert "8.19 B parameters" in run.stdout
    grid = plan("-m", "model=llama7b", "data=oasst1", "seed=1,2")
    assert grid.returncode == 0, grid.stderr
    assert "all 2 runs" in grid.stdout


def test_a_mistake_is_one_line():
    run = plan("model=local", "model.source=/no/such/folder")
    assert run.returncode == 1
    assert run.stderr.startswith("anima_exp: model.source=/no/such/folder")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (size(0), "0 B"), (size(2**30), "1.00 GiB"), (size(150 * 2**30), "150 GiB"),
        (format_count(805_376), "805,376"), (format_count(32.5e9), "32.5 B"),
        (hours(None), "-"), (hours(0.5), "30 min"), (hours(0.001), "< 1 min"),
        (hours(40.7), "40.7 h"),
    ],
)  # fmt: skip
def test_numbers_are_short(written, expected):
    assert written == expected
