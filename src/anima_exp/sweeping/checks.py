"""Check that the runs of a sweep measure `sweep.metric`, and find which direction is better."""

from dataclasses import replace
from typing import Any

from anima_exp.config import Direction, RunConfig
from anima_exp.data.download import is_url
from anima_exp.errors import ConfigError
from anima_exp.evals import custom, score_names
from anima_exp.evals.answers import KEY
from anima_exp.inference.questions import load
from anima_exp.metrics.metric import Metric
from anima_exp.metrics.metric import metric as metric_of
from anima_exp.system import paths

_LOGGED = {"loss", "grad_norm", "tokens_per_second", "memory_gib"}  # by every run


def check_metric(config: RunConfig) -> None:
    """Raise ConfigError unless a run logs `sweep.metric` or one of its evals measures it."""
    metric = config.sweep.metric
    known = _LOGGED | _scores(config)
    own = custom.load(config).values()
    if metric not in known and not any(one.gives(metric) for one in own):
        measured = ", ".join(sorted(known | {one.name for one in own}))
        raise ConfigError(
            f"sweep.metric={metric} is not measured by these runs. They measure {measured}. "
            "Choose one of these, or add an evaluation with evals=[...]."
        )


def described(config: RunConfig) -> dict[str, Any]:
    """Return the description of `sweep.metric` by a custom evaluation, for metrics/metric.py."""
    return custom.described(config, [config.sweep.metric])


def metric(config: RunConfig) -> Metric:
    """Return `sweep.metric` with `sweep.direction`; null keeps the metric's own direction.

    Raises:
        ConfigError: if sweep.direction contradicts the evaluation that defines the metric.
    """
    name, direction, said = config.sweep.metric, config.sweep.direction, described(config)
    one = metric_of(name, said)
    if direction is None:
        return one
    direction = Direction(direction)
    if said and one.direction != direction.value:
        raise ConfigError(
            f"sweep.direction={direction.value} contradicts the evaluation that defines {name}, "
            f"which says {one.direction}. Leave sweep.direction out."
        )
    return replace(one, direction=direction.value)


def _scores(config: RunConfig) -> set[str]:
    found = score_names.scores(config)
    return found | {"answers_match"} if _has_references(config) else found


def _has_references(config: RunConfig) -> bool:
    answers = config.evals.answers
    if answers is None or is_url(answers.questions):  # planning needs no network
        return False
    questions = load(answers.questions, answers, key=KEY, cache=paths.cache(config.cache_dir))
    return all(question.reference is not None for question in questions)
