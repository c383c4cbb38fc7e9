"""One small sweep computed by hand: means, intervals, and the paired answer to which is better."""

import math

import pytest
from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load

LOSSES = {8: (0.61, 0.65, 0.63), 64: (0.58, 0.63, 0.59)}
T2 = 4.302653  # Student's t at 97.5 % with 2 degrees of freedom


def deviation(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


@pytest.fixture
def found(tmp_path):
    cells = [
        (synthetic.run(tmp_path / f"r{rank}s{seed}", loss=loss, seed=seed, **{"lora.rank": rank}),
         [f"lora.rank={rank}", f"seed={seed}"])
        for rank, losses in LOSSES.items()
        for seed, loss in enumerate(losses)
    ]  # fmt: skip
    return build(load([synthetic.sweep(tmp_path / "s", cells)]), baseline="rank=8")


def test_means_and_intervals(found):
    best, second = found.rows
    for row, rank, mean in ((best, 64, 0.6), (second, 8, 0.63)):
        assert row.cell.settings == {"lora.rank": rank}
        assert row.score.mean == pytest.approx(mean)
        half = T2 * deviation(LOSSES[rank]) / math.sqrt(3)
        assert row.score.half == pytest.approx(half, rel=1e-6)
    # By paper: s = 0.02 at rank 8, so 4.302653 * 0.02 / 1.7320508 = 0.049683.
    assert second.score.half == pytest.approx(0.049683, abs=1e-6)


def test_the_paired_answer(found):
    # Differences of 0.03, 0.02 and 0.04: mean 0.03, s = 0.01, half 0.01 * 4.302653 / 1.7320508.
    (one,) = found.baseline.differences
    assert (one.score.mean, one.score.half) == (
        pytest.approx(-0.03), pytest.approx(0.024841, abs=1e-6)
    )  # fmt: skip
    assert found.verdict == "rank=64 is better than rank=8 (0.0300 ± 0.0248, paired over 3 seeds)."
    # Unpaired, they could not be told apart: s = 0.0265 and 0.02 over three seeds each.
    unpaired = math.sqrt(deviation(LOSSES[64]) ** 2 / 3 + deviation(LOSSES[8]) ** 2 / 3)
    assert 2.77 * unpaired > 0.03


def test_shares_of_the_variance(found):
    # Total 0.00355: rank 6 * 0.015**2, seeds 2 * sum of squares of their means, the rest.
    every = [loss for losses in LOSSES.values() for loss in losses]
    mean = sum(every) / 6
    total = sum((loss - mean) ** 2 for loss in every)
    seeds = [(a + b) / 2 for a, b in zip(LOSSES[8], LOSSES[64], strict=True)]
    shares = {effect.key: effect.share for effect in found.effects.effects}
    assert shares["lora.rank"] == pytest.approx(6 * 0.015**2 / total)
    assert shares["seed"] == pytest.approx(2 * sum((one - mean) ** 2 for one in seeds) / total)
    assert found.effects.residual == pytest.approx(1 - sum(shares.values()))
