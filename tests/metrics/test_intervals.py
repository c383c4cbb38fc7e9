from math import sqrt

import pytest

from anima_exp.metrics.intervals import mean_interval, paired, welch

# Student's t at 97.5 %, from the printed tables.
T = {1: 12.7062, 2: 4.3027, 4: 2.7764}


def test_an_interval_is_the_mean_and_t_standard_errors():
    found = mean_interval([1.0, 2.0, 3.0])  # s = 1, so the standard error is 1 / sqrt(3)
    assert found.mean == 2.0
    assert found.n == 3
    assert found.high == pytest.approx(2 + T[2] / sqrt(3), abs=1e-4)
    assert found.low == pytest.approx(2 - T[2] / sqrt(3), abs=1e-4)


def test_one_value_has_no_interval():
    found = mean_interval([0.5])
    assert (found.mean, found.low, found.high, found.half) == (0.5, None, None, None)
    assert not found.excludes_zero


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([0.46, 0.46]).half == 0.0


def test_pairs_share_what_makes_them_vary():
    found = paired([1.1, 2.1, 3.1], [1.0, 2.0, 3.0])
    assert found.mean == pytest.approx(0.1)
    assert found.half == pytest.approx(0.0, abs=1e-12)
    assert not welch([1.1, 2.1, 3.1], [1.0, 2.0, 3.0]).excludes_zero


def test_welch_of_equal_spreads_has_all_degrees_of_freedom():
    # Both variances are 1, n = 3: error sqrt(2/3), 4 degrees of freedom.
    found = welch([4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    assert found.mean == 3.0
    assert found.half == pytest.approx(T[4] * sqrt(2 / 3), abs=1e-4)
    assert found.excludes_zero


def test_a_stricter_level_is_a_wider_interval():
    assert mean_interval([1, 2, 3], level=0.99).half > mean_interval([1, 2, 3]).half
