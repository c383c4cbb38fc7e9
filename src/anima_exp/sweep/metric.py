"""sweep.metric: whether the runs of a sweep will measure it at all."""

from dataclasses import fields

from anima_exp import paths
from anima_exp.answers.download import is_url
from anima_exp.answers.of_run import KEY
from anima_exp.answers.questions import load
from anima_exp.config import RunConfig
from anima_exp.errors import ConfigError

_LOGGED = {"loss", "grad_norm", "tokens_per_second", "memory_gib"}  # by every run
# Of an eval, where it is not its name. Whether answers are scored depends on their questions.
_SCORES = {"heldout": "heldout_loss", "samples": None, "answers": None}


def check_metric(config: RunConfig) -> None:
    """Raise ConfigError unless a run logs `sweep.metric` or one of its evals measures it."""
    metric = config.sweep.metric
    known = _LOGGED | _scores(config)
    if metric not in known:
        raise ConfigError(
            f"sweep.metric={metric} is nothing that these runs measure. They measure "
            f"{', '.join(sorted(known))}. Other evaluations: evals=[...]."
        )


def _scores(config: RunConfig) -> set[str]:
    chosen = [f.name for f in fields(config.evals) if getattr(config.evals, f.name) is not None]
    if not config.data.exact_answers:
        chosen = [name for name in chosen if name != "exact_match"]
    found = {score for name in chosen if (score := _SCORES.get(name, name)) is not None}
    found |= {f"{name}_micro" for name in chosen if name in ("mmlu", "cmmlu", "ceval")}
    return found | {"answers_match"} if _has_references(config) else found


def _has_references(config: RunConfig) -> bool:
    answers = config.evals.answers
    if answers is None or is_url(answers.questions):  # planning needs no network
        return False
    questions = load(answers.questions, answers, key=KEY, cache=paths.cache(config.cache))
    return all(question.reference is not None for question in questions)
