import re

import pytest

from anima_exp.comparison.page.leaderboard import EDGE, WIDE, Whiskers
from anima_exp.display.html_page import environment
from anima_exp.metrics.intervals import Interval


def svg(whiskers, score):
    macros = environment().get_template("macros.html.jinja").module
    return macros.whisker(whiskers.draw(score, ""))


def dot(svg):
    return float(re.search(r'cx="([\d.]+)"', svg)[1])


def test_the_smallest_is_left_and_the_largest_right():
    scores = [Interval(1.0, None, None, 1), Interval(3.0, None, None, 1)]
    whiskers = Whiskers(scores)
    assert [dot(svg(whiskers, score)) for score in scores] == [EDGE, WIDE - EDGE]


def test_one_that_diverged_does_not_press_the_others_together():
    scores = [Interval(0.5 + 0.01 * i, None, None, 1) for i in range(10)]
    whiskers = Whiskers([*scores, Interval(100.0, None, None, 1)])
    places = [dot(svg(whiskers, score)) for score in scores]
    assert max(places) - min(places) > WIDE / 4
    beyond = svg(whiskers, Interval(100.0, None, None, 1))
    assert f"M{WIDE - EDGE:.1f} " in beyond and "<circle" not in beyond  # an arrow at the end


@pytest.mark.parametrize("low, hollow", [(None, True), (0.9, False)])
def test_a_score_without_repeats_is_hollow(low, hollow):
    score = Interval(1.0, low, None if low is None else 1.1, 1 if low is None else 3)
    drawn = svg(Whiskers([score]), score)
    assert ("alone" in drawn) is hollow
    assert ('class="reach"' in drawn) is not hollow
