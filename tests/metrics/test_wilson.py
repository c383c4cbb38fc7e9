import pytest

from anima_exp.metrics.intervals import wilson


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_it_is_the_published_one_within_0_and_1(right, asked, low, high):
    """The first is Newcombe's (1998) example, method 3."""
    assert wilson(right, asked) == pytest.approx((low, high), abs=1e-4)
