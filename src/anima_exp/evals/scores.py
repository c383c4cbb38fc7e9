"""A score's name -> the evaluation that gives it, from the settings of a run that has ended."""

from collections.abc import Mapping
from typing import Any

from anima_exp.config import BENCHMARKS, benchmark_key
from anima_exp.evals.choice.benchmark import of_score

_CUSTOM, _BENCHMARKS = "evals.custom.", "evals.benchmarks."
_OF = {"heldout_loss": "heldout", "answers_match": "answers"}  # others have their eval's name


def group(score: str, settings: Mapping[str, Any]) -> str:
    """Return the group of settings of the eval: evals.mmlu of mmlu_micro.

    A function of the user's own may give several scores: evals.custom.qa of qa_f1.
    """
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
    """Return the names of the user's own evals whose settings begin with `prefix`."""
    found = (
        key.removeprefix(prefix).partition(".")[0] for key in settings if key.startswith(prefix)
    )
    return list(dict.fromkeys(found))
