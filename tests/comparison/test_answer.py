"""The sweep's question is answered by all of its runs."""

from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load


def answer(folder, table, *, metric=None, **fixed):
    """Of runs with {rank: {seed: loss}}."""
    for rank, losses in table.items():
        for seed, loss in losses.items():
            synthetic.run(
                folder / f"r{rank}s{seed}", loss=loss, seed=seed, **{"lora.rank": rank, **fixed}
            )
    return build(load([folder]), metric=metric).answer


def three(loss, step=0.001):
    return {seed: loss + step * seed for seed in range(3)}


def test_every_pair_of_values_is_compared(tmp_path):
    found = answer(tmp_path, {8: three(1.0), 16: three(0.9), 64: three(0.8)})
    assert found.key == "lora.rank"
    assert [(pair.first, pair.second, pair.differs) for pair in found.pairs] == [
        (64, 16, True),
        (64, 8, True),
        (16, 8, True),
    ]
    assert found.sentence == (
        "rank=64 is better than 16 and 8 (64 against 16: 0.1000 ± 0.0000, paired over 3 runs of "
        "each, corrected for 3 comparisons)."
    )


def test_values_that_cannot_be_told_apart_are_named(tmp_path):
    noisy = {8: {0: 1.0, 1: 1.3, 2: 0.9}, 64: {0: 1.1, 1: 1.0, 2: 0.9}}
    # Differences (64 - 8) are 0.1, -0.3 and 0: mean -0.0667, s 0.2082, t(2) 4.3027: ± 0.5171.
    assert answer(tmp_path, noisy).sentence == (
        "No two values of rank differ beyond chance: 64 and 8 (64 against 8: 0.0667 ± 0.5171, "
        "paired over 3 runs of each)."
    )


def test_the_leader_may_share_its_place(tmp_path):
    losses = {8: three(2.0), 16: {0: 0.9, 1: 1.1, 2: 0.9}, 64: {0: 0.9, 1: 1.0, 2: 0.95}}
    told = answer(tmp_path, losses).sentence
    assert told.startswith("rank=64 is ahead, but not beyond chance, of 16; it is better than 8 (")


def test_one_run_at_each_value_answers_nothing(tmp_path):
    assert answer(tmp_path, {8: {0: 1.0}, 64: {0: 0.9}}) is None


def test_runs_of_a_pair_differ_in_nothing_else(tmp_path):
    """Data sets are far apart, ranks are not: only pairs within a data set tell ranks apart."""
    for name, base in (("alpaca", 1.0), ("flan_v2", 3.0)):
        for rank, gain in ((8, 0.0), (64, 0.1)):
            for seed in range(2):
                synthetic.run(
                    tmp_path / f"{name}{rank}{seed}", loss=base - gain + 0.001 * seed, seed=seed,
                    **{"data.name": name, "data.source": name, "lora.rank": rank},
                )  # fmt: skip
    sweep = synthetic.sweep(
        tmp_path / "sweep", [(place, []) for place in sorted(tmp_path.glob("*[01]"))],
        swept=["data.name", "lora.rank", "seed"], about="lora.rank",
    )  # fmt: skip
    found = build(load([sweep])).answer
    assert found.pairs[0].pairs == 4
    assert found.sentence == (
        "rank=64 is better than 8 (64 against 8: 0.1000 ± 0.0000, paired over 4 runs of each)."
    )


def test_a_question_about_several_settings_is_answered_by_their_shares(tmp_path):
    synthetic.grid(tmp_path)
    told = build(load([tmp_path])).answer.sentence
    assert told.startswith("rank matters most: it explains 9")
    assert told.endswith("of the variance of heldout_loss; dropout 0.8 %.")


def test_no_setting_stands_out_where_chance_explains_more(tmp_path):
    synthetic.grid(tmp_path, noise=1.0)
    told = build(load([tmp_path])).answer.sentence
    assert told.startswith("No setting stands out: of the variance of heldout_loss, ")
    assert "interactions and chance" in told
