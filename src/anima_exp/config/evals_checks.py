"""Check the rules of the evaluations' settings, before anything is loaded."""

import re

from anima_exp.config.evals import EvalsConfig
from anima_exp.errors import ConfigError


def check_evals(evals: EvalsConfig, *, eval_at_start: bool) -> None:
    """Raise ConfigError if settings of the evaluations contradict each other."""
    forgetting = evals.forgetting
    if forgetting and not eval_at_start:
        raise ConfigError(
            "evals=[forgetting] compares with the loss before training, which "
            "trainer.eval_at_start=false leaves out. Leave out one of them."
        )
    if forgetting and forgetting.path and forgetting.source:
        raise ConfigError(
            f"evals.forgetting.path={forgetting.path} and evals.forgetting.source="
            f"{forgetting.source} are both set, but the text comes from one of them. Leave one "
            "out."
        )
    if evals.exact_match and (pattern := evals.exact_match.answer_pattern) is not None:
        _check_pattern(pattern, "evals.exact_match.answer_pattern")


def _check_pattern(pattern: str, key: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ConfigError(
            f"{key}={pattern} is not a regular expression: {error}. Correct it, or leave it out."
        ) from error
    if not groups:
        raise ConfigError(
            f"{key}={pattern} has no group, so it names no part of the answer. Put brackets "
            r"around the answer, for example 'answer is (\d+)'."
        )
