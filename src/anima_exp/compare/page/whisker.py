"""A score and its interval -> a dot on a line, small enough for a row of a table."""

from collections.abc import Sequence
from statistics import median, quantiles

from anima_exp.compare.statistics import Interval

WIDE, HIGH, EDGE = 144, 20, 7


class Whiskers:
    """All rows share one rail; scores far outside of the others sit at its end."""

    def __init__(self, scores: Sequence[Interval]) -> None:
        means = [score.mean for score in scores]
        self.low = min(_low(score) for score in scores)
        self.high = max(_high(score) for score in scores)
        if len(means) > 3:
            # One run that diverged must not press all others into one dot.
            first, _, third = quantiles(means, n=4)
            reach = 4 * (third - first)
            if reach > 0:
                self.low = max(self.low, median(means) - reach)
                self.high = min(self.high, median(means) + reach)

    def draw(self, score: Interval, told: str) -> str:
        """An <svg>; `told` is what it says to who cannot see it, already escaped."""
        middle = HIGH // 2
        at = self._place(score.mean)
        parts = [f'<path class="rail" d="M{EDGE} {middle}H{WIDE - EDGE}"/>']
        if score.low is not None and score.high is not None:
            left, right = self._place(score.low), self._place(score.high)
            parts.append(f'<path class="reach" d="M{left:.1f} {middle}H{right:.1f}"/>')
        alone = " alone" if score.low is None else ""
        if self.low <= score.mean <= self.high:
            parts.append(f'<circle class="dot{alone}" cx="{at:.1f}" cy="{middle}" r="4"/>')
        else:  # an arrow: it lies beyond the end
            tip = 5 if score.mean > self.high else -5
            parts.append(f'<path class="dot" d="M{at:.1f} {middle}l{-tip} -4v8z"/>')
        return (
            f'<svg class="whisker" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{told}">'
            f"{''.join(parts)}</svg>"
        )

    def _place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return EDGE + min(max(share, 0.0), 1.0) * (WIDE - 2 * EDGE)


def _low(score: Interval) -> float:
    return score.mean if score.low is None else score.low


def _high(score: Interval) -> float:
    return score.mean if score.high is None else score.high
