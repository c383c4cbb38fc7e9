import numpy as np
import pytest

from anima_exp.data.report.lengths import quantiles, recommended, truncation


def counted(*lengths):
    return np.array(lengths, dtype=np.int32)


def test_quantiles_are_interpolated_as_pandas_does_and_end_with_the_longest():
    assert quantiles(np.arange(101, dtype=np.int32)) == [80, 85, 90, 95, 98, 100]


def test_a_cut_counts_rows_and_tokens_lost():
    found = truncation(counted(5, 10, 15), 8)
    assert (found.rows, found.tokens) == (2, 9)
    assert (found.rows_proportion, found.tokens_proportion) == pytest.approx((2 / 3, 9 / 30))


@pytest.mark.parametrize(("needed", "limit"), [(16, 16), (17, 32), (1, 16), (0, 16)])
def test_a_recommended_limit_is_a_multiple_of_16_above_0(needed, limit):
    assert recommended(counted(*[needed] * 10)) == limit


def test_a_recommended_limit_leaves_98_rows_in_100_whole_and_no_more():
    lengths = counted(*[10] * 98, 500, 500)
    assert recommended(lengths) == 16
    assert recommended(counted(*[10] * 97, 500, 500, 500)) == 512
