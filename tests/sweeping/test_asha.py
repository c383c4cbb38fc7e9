"""Early stopping: losing cells pause for good, survivors go on from their checkpoints."""

import itertools
import random

import pytest
from support.stand_in_run import record, value, wait_for

from anima_exp.config import Direction, SweepConfig
from anima_exp.errors import ConfigError
from anima_exp.sweeping.asha import Halving, rungs
from anima_exp.sweeping.cell import Cell, Outcome
from anima_exp.system.json_lines import JsonLinesLog

ASHA = ("sweep.early_stopping=asha", "trainer.max_steps=27")


@pytest.fixture
def cells(compose, tmp_path):
    """Nine cells that differ in their learning rate, in a random order of it."""
    rates = [1e-4 * (i + 1) for i in range(9)]
    random.Random(1).shuffle(rates)
    return [
        Cell(
            number=i, overrides=(), label=f"{rate:g}", name=f"cell{i}",
            folder=tmp_path / f"cell{i}",
            config=compose("trainer.max_steps=27", f"optimizer.learning_rate={rate}"),
        )
        for i, rate in enumerate(rates)
    ]  # fmt: skip


def simulate(schedule, *, jobs=1000):
    """Run every job at once in this process; the steps trained, by cell."""
    trained = {}
    while jobs and (job := schedule.next()):
        jobs -= 1
        cell = job.cell
        cell.folder.mkdir(exist_ok=True)
        lines = JsonLinesLog(cell.folder / "metrics.jsonl")
        begun = max((row["step"] for row in lines.rows()), default=0)
        end = job.until or 27
        loss = value(cell.config, end)
        lines.append({"step": end, "heldout_loss": loss, "exact_match": -loss, "eval_seconds": 0})
        trained.setdefault(cell.name, []).append((begun, end))
        if end == 27:
            record(cell.config, cell.folder, starts=1).save(cell.folder)
        schedule.ended(job, Outcome.done if end == 27 else Outcome.paused)
    return trained


def test_rungs_are_even_divisions_of_the_steps(cells):
    assert rungs(cells[0], SweepConfig(reduction_factor=3, rungs=2)) == [3, 9]
    assert rungs(cells[0], SweepConfig(reduction_factor=2, rungs=4)) == [1, 3, 6, 13]


def test_too_short_a_run_for_the_rungs_is_a_mistake(cells):
    with pytest.raises(ConfigError, match=r"trainer\.max_steps=27 is too short for sweep\.rungs=5"):
        rungs(cells[0], SweepConfig(rungs=5))


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("heldout_loss", Direction.minimize), ("exact_match", Direction.maximize)],
)
def test_the_best_cell_reaches_its_end_and_most_others_do_not(cells, metric, direction):
    schedule = Halving(cells, SweepConfig(metric=metric, direction=direction))
    trained = simulate(schedule)
    assert len(trained) == 9, "every cell begins"
    done = [name for name, spans in trained.items() if spans[-1][1] == 27]
    best = max(cells, key=lambda cell: cell.config.optimizer.learning_rate)
    assert best.name in done
    assert len(done) <= 3
    assert set(schedule.stopped()) == set(trained) - set(done)
    for spans in trained.values():
        assert spans == sorted(spans), "each goes on where it paused"
        assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))


def test_it_says_where_and_why_a_cell_was_stopped(cells):
    schedule = Halving(cells, SweepConfig())
    simulate(schedule)
    worst = min(cells, key=lambda cell: cell.config.optimizer.learning_rate)
    assert schedule.stopped()[worst.name] == {
        "rung": 1,
        "step": 3,
        "metric": "heldout_loss",
        "value": value(worst.config, 3),
        "reason": "9 of 9 at step 3; one in 3 continued",
    }


def test_a_new_schedule_knows_what_the_folders_know(cells):
    simulate(Halving(cells, SweepConfig()))
    again = Halving(cells, SweepConfig())
    assert not again.waiting
    assert again.next() is None


def test_what_each_cell_reached_is_kept(cells):
    schedule = Halving(cells, SweepConfig())
    simulate(schedule)
    best = max(cells, key=lambda cell: cell.config.optimizer.learning_rate)
    assert schedule.reached()[best.name] == [
        {"rung": 1, "step": 3, "value": value(best.config, 3)},
        {"rung": 2, "step": 9, "value": value(best.config, 9)},
    ]
    assert {len(rungs) for rungs in schedule.reached().values()} == {1, 2}


@pytest.fixture(scope="module")
def seed_configs(compose):
    """Three seeds of nine learning rates, where luck differs more than rates do."""
    return [
        compose(
            "trainer.max_steps=27",
            f"optimizer.learning_rate={1e-4 * (rate + 1)}",
            f"seed={1000 * ((seed + rate) % 3)}",
        )
        for rate in range(9)
        for seed in range(3)
    ]


@pytest.fixture
def seeds(seed_configs, tmp_path):
    """Their cells, in a random order."""
    found = [
        Cell(i, (), f"{i}", config, f"cell{i}-{i * 7 % 27:02}", tmp_path / f"cell{i}")
        for i, config in enumerate(seed_configs)
    ]
    random.Random(2).shuffle(found)
    return found


def ends(cells):
    """By learning rate, the last steps of its three seeds."""
    found = {}
    for cell in cells:
        rows = JsonLinesLog(cell.folder / "metrics.jsonl").rows()
        last = max((row["step"] for row in rows), default=0)
        found.setdefault(cell.config.optimizer.learning_rate, []).append(last)
    return found


def test_the_seeds_of_a_setting_never_compete(seeds):
    schedule = Halving(seeds, SweepConfig())
    simulate(schedule)
    last = ends(seeds)
    assert all(len(steps) == 3 and len(set(steps)) == 1 for steps in last.values()), last
    assert set(last[max(last)]) == {27}, "the best by its mean, whatever luck its seeds had"
    assert sum(steps[0] == 27 for steps in last.values()) <= 4
    worst = [c for c in seeds if c.config.optimizer.learning_rate == min(last)]
    mean = sum(value(cell.config, 3) for cell in worst) / 3
    for cell in worst:
        stop = schedule.stopped()[cell.name]
        assert (stop["rung"], stop["seeds"]) == (1, 3)
        assert stop["mean"] == pytest.approx(mean)
        assert stop["reason"].startswith("9 of 9 settings at step 3, by the mean of 3 seeds; ")


@pytest.mark.parametrize("jobs", [2, 13, 29, 33, 36])
def test_a_killed_sweep_promotes_all_seeds_of_a_setting_or_none(seeds, jobs):
    """Killed after so many jobs, and continued by a schedule that knows the folders alone."""
    first = Halving(seeds, SweepConfig())
    simulate(first, jobs=jobs)
    again = Halving(seeds, SweepConfig())
    simulate(again)
    last = ends(seeds)
    assert all(len(set(steps)) == 1 for steps in last.values()), last
    assert any(steps[0] == 27 for steps in last.values())
    assert not Halving(seeds, SweepConfig()).waiting


def test_a_seed_that_fails_does_not_hold_up_its_setting(seeds):
    schedule = Halving(seeds, SweepConfig(retries=0))
    best = max(cell.config.optimizer.learning_rate for cell in seeds)
    unlucky = next(c for c in seeds if c.config.optimizer.learning_rate == best)
    whole = schedule.next

    def next_one():
        job = whole()
        if job and job.cell is unlucky:
            schedule.ended(job, Outcome.failed)
            return next_one()
        return job

    schedule.next = next_one
    simulate(schedule)
    assert sorted(ends(seeds)[best]) == [0, 27, 27]


def test_a_seed_that_ended_at_a_rung_by_itself_does_not_let_the_others_past(seeds):
    worst = max(seeds, key=lambda cell: value(cell.config, 3)).config.optimizer.learning_rate
    of_worst = [cell for cell in seeds if cell.config.optimizer.learning_rate == worst]
    ended, *others = of_worst
    ended.folder.mkdir()
    loss = value(ended.config, 3)
    JsonLinesLog(ended.folder / "metrics.jsonl").append(
        {"step": 3, "heldout_loss": loss, "exact_match": -loss, "eval_seconds": 0}
    )
    record(ended.config, ended.folder, starts=1).save(ended.folder)
    simulate(Halving(seeds, SweepConfig(metric="heldout_loss")))
    furthest = {
        cell.name: max(row["step"] for row in JsonLinesLog(cell.folder / "metrics.jsonl").rows())
        for cell in others
    }
    assert set(furthest.values()) == {3}


def test_two_cells_are_too_few_for_a_third_but_one_still_ends(cells):
    trained = simulate(Halving(cells[:2], SweepConfig()))
    assert [spans[-1][1] for spans in trained.values()].count(27) == 1


def test_a_metric_that_is_not_logged_is_a_mistake_that_names_what_is(cells):
    for cell in cells:
        cell.config.sweep.metric = "accuracy"
    with pytest.raises(ConfigError) as error:
        Halving(cells, cells[0].config.sweep)
    assert str(error.value) == (
        "sweep.metric=accuracy is not measured by these runs. They measure exact_match, "
        "grad_norm, heldout_loss, loss, memory_gib, tokens_per_second. Choose one of "
        "these, or add an evaluation with evals=[...]."
    )


def test_a_sweep_with_early_stopping_continues_survivors_and_stays_decided(sweeps):
    grid = (*ASHA, "optimizer.learning_rate=1e-4,2e-4,3e-4,4e-4,5e-4,6e-4,7e-4,8e-4,9e-4")
    code, told = sweeps.run(*grid)
    assert code == 0, told
    (file,) = sweeps.sweep_files()
    done = sweeps.records()
    assert 1 <= len(done) <= 4
    assert len(file["stopped"]) == 9 - len(done)
    assert f"{len(done)} of 9 runs done, {9 - len(done)} stopped early" in told
    rates = [record["settings"]["optimizer.learning_rate"] for record in done.values()]
    assert max(rates) == 9e-4
    for name in done:
        rows = JsonLinesLog(sweeps.runs / name / "metrics.jsonl").rows()
        steps = [row["step"] for row in rows if "loss" in row]
        assert steps == list(range(1, 28)), "no step was trained twice"
    before = {p: p.stat().st_mtime_ns for p in sweeps.runs.glob("*/metrics.jsonl")}
    assert sweeps.run(*grid)[0] == 0
    assert {p: p.stat().st_mtime_ns for p in sweeps.runs.glob("*/metrics.jsonl")} == before


def test_cells_that_ran_past_a_rung_before_count_with_what_they_saw_next(sweeps):
    three = ("optimizer.learning_rate=1e-4,2e-4,3e-4",)
    process = sweeps.start(*three, "trainer.max_steps=18", step_seconds=0.2)
    wait_for(lambda: list(sweeps.runs.glob("*/checkpoints/checkpoint-5")))
    process.terminate()
    assert process.wait(60) == 143
    code, told = sweeps.run(*three, "trainer.max_steps=18", "sweep.early_stopping=asha")
    assert code == 0, told
    assert "1 of 3 runs done, 2 stopped early" in told
