"""Choose the score by which runs are compared."""

from dataclasses import replace

from anima_exp.comparison.runs import Runs
from anima_exp.errors import ConfigError
from anima_exp.events import warn
from anima_exp.metrics.metric import Metric, metric

__all__ = ["Metric", "choose_metric", "metric"]

_DEFAULT = "heldout_loss"


def choose_metric(runs: Runs, requested: str | None) -> Metric:
    """Return the requested metric; by default the sweep's, heldout_loss, or the only score.

    Raises:
        ConfigError: if no done run has the score, or there are several and none is chosen.
    """
    done, described = runs.done(), runs.metrics
    scores = sorted({name for run in done for name in run.scores})
    of_sweeps = {
        _directed(metric(sweep.metric, described), sweep.direction)
        for sweep in runs.sweeps
        if sweep.metric
    }
    known = {one.name: one for one in of_sweeps}
    if requested is None and len(of_sweeps) == 1 and (not done or scores):
        wanted = of_sweeps.pop()
        if not done or wanted.name in scores:
            return wanted
    name = requested or (_DEFAULT if _DEFAULT in scores or len(scores) != 1 else scores[0])
    if not done or name in scores:
        _check_one_description(name, runs)
        return known.get(name, metric(name, described))
    if not scores:
        raise ConfigError(
            "No finished run has a score. Train with data.heldout_rows above 0 and evals=[heldout]."
        )
    problem = (
        f"No finished run has the score '{name}'." if requested else "Several scores are there."
    )
    raise ConfigError(f"{problem} Give metric=NAME, one of: {', '.join(scores)}.")


def _directed(one: Metric, direction: str | None) -> Metric:
    return replace(one, direction=direction) if direction else one


def _check_one_description(name: str, runs: Runs) -> None:
    """Print a line if the runs do not agree on which way a score is better."""
    said = {metric(name, run.metrics).direction for run in runs.done() if name in run.scores}
    if len(said) > 1:
        first = metric(name, runs.metrics).direction
        warn(
            f"{name}: the runs disagree on whether smaller or larger is better. The comparison "
            f"uses {first}, as the first of them says."
        )
