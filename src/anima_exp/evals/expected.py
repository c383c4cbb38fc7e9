"""The scores that a run's evaluations will give, known before anything is loaded."""

from dataclasses import fields

from anima_exp.config import RunConfig, benchmarks_of
from anima_exp.errors import ConfigError
from anima_exp.evals import custom
from anima_exp.evals.choice.benchmark import entry

# Of an eval, where it is not its name. Whether answers are scored depends on their questions.
_SCORES = {"heldout": "heldout_loss", "samples": None, "answers": None}


def scores(config: RunConfig) -> set[str]:
    """Return the scores of every evaluation, without those of the user's own functions."""
    chosen = [f.name for f in fields(config.evals) if getattr(config.evals, f.name) is not None]
    if not config.data.exact_answers:
        chosen = [name for name in chosen if name != "exact_match"]
    benchmarks = benchmarks_of(config.evals)
    others = [name for name in chosen if name not in (*benchmarks, "benchmarks", "custom")]
    found = {score for name in others if (score := _SCORES.get(name, name)) is not None}
    return found | {score for name in benchmarks for score in entry(name).scores}


def check_keep_best(config: RunConfig) -> None:
    """Raise ConfigError unless every evaluation gives the score that trainer.keep_best names."""
    wanted, known = config.trainer.keep_best, scores(config)
    own = custom.load(config).values()
    if wanted is None or wanted in known or any(one.gives(wanted) for one in own):
        return
    measured = ", ".join(sorted(known | {one.name for one in own})) or "nothing"
    raise ConfigError(
        f"trainer.keep_best={wanted} is no score of this run's evaluations, which measure "
        f"{measured}. Choose one of them, or add an evaluation with evals=[...]."
    )
