"""Name the scores that a run's evaluations give, before any model is loaded."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from anima_exp.config import BENCHMARKS, RunConfig, benchmark_key, benchmarks_of
from anima_exp.config.evals import EXACT_MATCH_TURNS
from anima_exp.config.mixture import heldout_rows_by_part
from anima_exp.errors import ConfigError
from anima_exp.evals import custom
from anima_exp.evals.multiple_choice.benchmark import entry, of_score
from anima_exp.metrics.metric import NEUTRAL_LOSS, part_of_score, part_score

# The score of an evaluation whose score has another name. Whether answers have a score depends on
# their questions.
_SCORES = {"heldout": "heldout_loss", "samples": None, "answers": None}


def scores(config: RunConfig) -> set[str]:
    """Return the names of the scores of all evaluations, except those of the user's functions."""
    chosen = [f.name for f in fields(config.evals) if getattr(config.evals, f.name) is not None]
    if not config.data.exact_answers:
        chosen = [name for name in chosen if name != "exact_match"]
    from anima_exp.data import formats

    if "exact_match" in chosen and formats.holds_conversations(config.data.recipe):
        chosen += EXACT_MATCH_TURNS
    benchmarks = benchmarks_of(config.evals)
    others = [name for name in chosen if name not in (*benchmarks, "benchmarks", "custom")]
    if config.evals.forgetting:
        others.append(NEUTRAL_LOSS)
    found = {score for name in others if (score := _SCORES.get(name, name)) is not None}
    if config.evals.heldout:
        held = heldout_rows_by_part(config.data)
        found |= {part_score(name) for name, rows in held.items() if rows}
    return found | {score for name in benchmarks for score in entry(name).scores}


def check_keep_best(config: RunConfig) -> None:
    """Raise ConfigError unless an evaluation gives the score that trainer.keep_best names."""
    wanted, known = config.trainer.keep_best, scores(config)
    own = custom.load(config).values()
    if wanted is None or wanted in known or any(one.gives(wanted) for one in own):
        return
    measured = ", ".join(sorted(known | {one.name for one in own})) or "nothing"
    raise ConfigError(
        f"trainer.keep_best={wanted} is not a score of this run's evaluations, which measure "
        f"{measured}. Choose one of them, or add an evaluation with evals=[...]."
    )


_CUSTOM, _BENCHMARKS, _PARTS = "evals.custom.", "evals.benchmarks.", "data.parts."
# Other scores have the name of their evaluation.
_OF = {
    "heldout_loss": "heldout",
    "answers_match": "answers",
    NEUTRAL_LOSS: "forgetting",
    **dict.fromkeys(EXACT_MATCH_TURNS, "exact_match"),
}


def group(score: str, settings: Mapping[str, Any]) -> str:
    """Return the group of settings of the evaluation that gives a score: evals.mmlu of mmlu_micro.

    A user's function may give several scores: evals.custom.qa gives qa_f1.
    """
    if part_of_score(score) in names(settings, _PARTS):
        return "evals.heldout"
    own = [name for name in names(settings, _BENCHMARKS) if name not in BENCHMARKS]
    if benchmark := of_score(score, [*BENCHMARKS, *own]):
        return benchmark_key(benchmark.name)
    custom = [
        name for name in names(settings, _CUSTOM) if score == name or score.startswith(f"{name}_")
    ]
    if custom and score not in _OF:
        return f"{_CUSTOM}{max(custom, key=len)}"
    return f"evals.{_OF.get(score, score)}"


def names(settings: Mapping[str, Any], prefix: str) -> list[str]:
    """Return the names in a user's table, whose settings begin with `prefix`."""
    found = (
        key.removeprefix(prefix).partition(".")[0] for key in settings if key.startswith(prefix)
    )
    return list(dict.fromkeys(found))
