"""Which score the runs are compared by."""

from anima_exp.compare.runs import Runs
from anima_exp.errors import ConfigError
from anima_exp.results.metric import Metric, metric

__all__ = ["Metric", "choose_metric", "metric"]

_DEFAULT = "heldout_loss"


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
