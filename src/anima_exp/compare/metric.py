"""Which score the runs are compared by, which way is better, and how it is written."""

from dataclasses import dataclass

from anima_exp.compare.runs import Runs
from anima_exp.errors import ConfigError

_SMALLER_IS_BETTER = ("loss", "perplexity", "error", "seconds", "bits_per_byte")
_SHARES = ("exact_match", "answers_match", "accuracy", "mmlu", "ceval", "share", "rate")
_DEFAULT = "heldout_loss"


@dataclass(frozen=True)
class Metric:
    name: str
    direction: str  # minimize, maximize

    @property
    def minimize(self) -> bool:
        return self.direction == "minimize"

    @property
    def is_share(self) -> bool:
        return self.name.endswith(_SHARES)

    def worse_by(self, value: float) -> float:
        """For sorting: smaller is better, whatever the direction."""
        return value if self.minimize else -value

    def number(self, value: float) -> str:
        """As results/screen.py writes it; a score that is neither loss nor share in four digits."""
        if self.name.endswith("loss"):
            return f"{value:.4f}"
        return f"{100 * value:.1f} %" if self.is_share else f"{value:.4g}"

    def difference(self, value: float) -> str:
        """The same with its sign; differences of shares are percentage points."""
        if self.name.endswith("loss"):
            return f"{value:+.4f}"
        return f"{100 * value:+.1f} pp" if self.is_share else f"{value:+.4g}"


def metric(name: str) -> Metric:
    return Metric(name, "minimize" if name.endswith(_SMALLER_IS_BETTER) else "maximize")


def choose_metric(runs: Runs, asked: str | None) -> Metric:
    """The one asked for, else the sweep's, else heldout_loss, else the only score there is.

    Raises:
        ConfigError: no done run has it, or several scores are there and none is chosen.
    """
    done = runs.done()
    scores = sorted({name for run in done for name in run.scores})
    of_sweeps = {
        Metric(sweep.metric, sweep.direction or metric(sweep.metric).direction)
        for sweep in runs.sweeps
        if sweep.metric
    }
    known = {one.name: one for one in of_sweeps}
    if asked is None and len(of_sweeps) == 1 and (not done or scores):
        wanted = of_sweeps.pop()
        if not done or wanted.name in scores:
            return wanted
    name = asked or (_DEFAULT if _DEFAULT in scores or len(scores) != 1 else scores[0])
    if not done or name in scores:
        return known.get(name, metric(name))
    if not scores:
        raise ConfigError(
            "No done run has a score. Train with data.heldout_rows above 0 and evals=[heldout]."
        )
    problem = f"No done run has the score '{name}'." if asked else "Several scores are there."
    raise ConfigError(f"{problem} Give --metric one of: {', '.join(scores)}.")
