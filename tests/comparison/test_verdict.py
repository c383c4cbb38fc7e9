from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load


def verdict(folder, table, **sweep):
    """Of runs with {rank: {seed: loss}}."""
    cells = [
        (synthetic.run(folder / f"r{rank}s{seed}", loss=loss, seed=seed, **{"lora.rank": rank}), [])
        for rank, losses in table.items()
        for seed, loss in losses.items()
    ]
    path = synthetic.sweep(folder / "sweeps/s", cells, **sweep) if sweep else folder
    return build(load([path])).verdict


def test_one_seed_cannot_tell(tmp_path):
    assert verdict(tmp_path, {8: {0: 1.0}, 64: {0: 0.9}}) == (
        "rank=64 is ahead of rank=8 by 0.1000. Each has one seed, which cannot tell a better "
        "setting from a lucky run. Repeat: python -m anima_exp.train -m ... seed=0,1,2"
    )


def test_a_sweep_is_repeated_by_its_own_command(tmp_path):
    told = verdict(tmp_path, {8: {0: 1.0}, 64: {0: 0.9}}, command="train -m sweep=s")
    assert told.endswith("Repeat: train -m sweep=s seed=0,1,2")
    one_seed = {8: {7: 1.0}, 64: {7: 0.9}}
    told = verdict(tmp_path / "other", one_seed, command="train -m seed=7 lora.rank=8,64")
    assert told.endswith("Repeat: train -m lora.rank=8,64 seed=0,1,2")


def test_the_repeat_of_a_sweep_runs_as_it_is_printed(tmp_path):
    command = "train -m 'seed=range(1)' 'data.path=my rows.json' lora.rank=8,64"
    told = verdict(tmp_path, {8: {0: 1.0}, 64: {0: 0.9}}, command=command)
    assert told.endswith("Repeat: train -m 'data.path=my rows.json' lora.rank=8,64 seed=0,1,2")


def test_paired_seeds_tell_what_unpaired_ones_cannot(tmp_path):
    # Seeds differ by 1, the settings by 0.1 at every seed.
    steady = {8: {0: 1.0, 1: 2.0, 2: 3.0}, 64: {0: 0.9, 1: 1.9, 2: 2.9}}
    assert verdict(tmp_path / "paired", steady) == (
        "rank=64 is better than rank=8 (0.1000 ± 0.0000, paired over 3 seeds)."
    )
    other_seeds = {8: {0: 1.0, 1: 2.0, 2: 3.0}, 64: {3: 0.9, 4: 1.9, 5: 2.9}}
    # Both variances are 1: sqrt(2/3) * t(4) = 0.81650 * 2.77645 = 2.26697.
    assert verdict(tmp_path / "unpaired", other_seeds) == (
        "rank=64 is ahead of rank=8, but not beyond chance "
        "(0.1000 ± 2.2670, 3 and 3 seeds, unpaired)."
    )


def test_picking_the_best_of_many_needs_more_than_picking_one_of_two(tmp_path):
    # Differences of -0.10, -0.09 and -0.11: t(2) is 4.3 at 5 %, but 35 at 5 % over 61.
    two = {8: {0: 1.0, 1: 1.01, 2: 1.02}, 64: {0: 0.9, 1: 0.92, 2: 0.91}}
    assert "is better than rank=8" in verdict(tmp_path / "two", two)
    many = {**two, **{100 + i: {0: 3.0, 1: 3.1, 2: 2.9} for i in range(60)}}
    told = verdict(tmp_path / "many", many)
    assert "rank=64 is ahead of rank=8, but not beyond chance" in told
    assert "corrected for 61 comparisons" in told
    assert told.endswith("It is better than the other 60.")


def test_a_single_cell_has_no_rival(tmp_path):
    assert verdict(tmp_path, {8: {0: 1.0, 1: 1.1}}) == "There is nothing to compare it with."


def test_equal_scores_tie(tmp_path):
    assert verdict(tmp_path / "one", {8: {0: 0.9}, 64: {0: 0.9}}) == (
        "rank=64 and rank=8 tie at 0.9000. Each has one seed, which cannot tell a better setting "
        "from a lucky run. Repeat: python -m anima_exp.train -m ... seed=0,1,2"
    )
    three = {8: {0: 0.8, 1: 1.0}, 64: {0: 1.0, 1: 0.8}, 2: {0: 5.0, 1: 5.5}}
    # Differences of -0.2 and 0.2: s = 0.28284, over sqrt(2) times t(1) at 97.5 %, 25.4517.
    assert verdict(tmp_path / "several", three) == (
        "rank=64 and rank=8 tie at 0.9000 (0.0000 ± 5.0903, paired over 2 seeds, corrected for 2 "
        "comparisons). Nor does rank=64 differ beyond chance from 1 more."
    )


def test_rows_that_tie_share_a_rank(tmp_path):
    for rank, loss in ((8, 0.9), (64, 0.9), (2, 1.0)):
        synthetic.run(tmp_path / f"r{rank}", loss=loss, **{"lora.rank": rank})
    assert [row.rank for row in build(load([tmp_path])).rows] == [1, 1, 3]


def searched(folder, command):
    """Three trials of a search over a range, as Optuna's sweeper leaves them."""
    cells = []
    for rate, loss in ((0.001, 0.6), (0.00023, 0.5), (0.004, 0.55)):
        run = synthetic.run(folder / f"lr{rate}", loss=loss, **{"optimizer.learning_rate": rate})
        cells.append(
            (
                run,
                ["sweep=lora_search", "tracking=none", "seed=0", f"optimizer.learning_rate={rate}"],
            )
        )
    sweep = synthetic.sweep(
        folder / "sweeps/s", cells, command=command, swept=["optimizer.learning_rate"]
    )
    (sweep / "study.jsonl").write_text("")
    return build(load([sweep])).verdict


def test_a_search_is_repeated_as_a_grid_of_seeds_and_never_over_seeds(tmp_path):
    command = (
        "python -m anima_exp.train --config-dir cd -m hydra/sweeper=optuna seed=5 "
        "'optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))'"
    )
    start = "python -m anima_exp.train --config-dir cd -m tracking=none optimizer.learning_rate="
    assert searched(tmp_path, command).endswith(
        f"Repeat: {start}0.00023 seed=1,2,3 and {start}0.004 seed=1,2,3"
    )


def test_a_quoted_seed_is_replaced_too(tmp_path):
    told = verdict(
        tmp_path, {8: {0: 1.0}, 64: {0: 0.9}}, command="train -m 'seed=range(0,1)' lora.rank=8,64"
    )
    assert told.endswith("Repeat: train -m lora.rank=8,64 seed=0,1,2")
