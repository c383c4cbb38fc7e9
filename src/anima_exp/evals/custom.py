"""Run evaluations of your own: a function that scores the model, named by its dotted path.

    from anima_exp.evals.custom import EvalContext, scored

    @scored("minimize", unit="words")
    def answer_length(context: EvalContext, max_rows: int = 20) -> float:
        answers = context.generate(context.heldout[:max_rows], max_new_tokens=40)
        return sum(len(answer.split()) for answer in answers) / len(answers)

    anima-exp train evals.custom.answer_length=my_evals.answer_length

The other parameters of the function are options: set `evals.custom.answer_length.max_rows=50`
together with `evals.custom.answer_length.function=...`. A function that returns a dict gives
several scores: key `f1` of the evaluation `qa` is the score `qa_f1`. With several processes, each
one calls the function, and the score of the main process counts.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar, cast

from anima_exp.config import RunConfig
from anima_exp.config.evals import FUNCTION, TAKEN
from anima_exp.config.lookup import closest, own
from anima_exp.errors import AnimaError, ConfigError, ModelError, TrainingError, first_line
from anima_exp.evals.context import EvalContext, HeldoutRow, separate_random_state
from anima_exp.metrics.metric import Described

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Custom", "Described", "EvalContext", "HeldoutRow", "described", "load", "scored"]

_DESCRIPTION = "anima_exp_description"

Function = TypeVar("Function", bound=Callable[..., Any])


def scored(
    direction: str,
    *,
    unit: str = "",
    decimals: int | None = None,
    percent: bool = False,
    parts: Mapping[str, Described] | None = None,
) -> Callable[[Function], Function]:
    """Describe the score that a function returns: whether higher is better, and its format.

    Args:
        direction: `minimize` or `maximize`.
        percent: whether the score is a proportion from 0 to 1, which is shown as 46.0 %.
        parts: descriptions by key for a function that returns a dict. Other keys have the
            description of the function.
    """
    description = Described(direction, unit=unit, decimals=decimals, percent=percent)

    def describe(function: Function) -> Function:
        setattr(function, _DESCRIPTION, (description, dict(parts or {})))
        return function

    return describe


@dataclass(frozen=True)
class Custom:
    """One entry of evals.custom with its imported function."""

    name: str
    path: str
    function: Callable[..., Any]
    options: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"evals.custom.{self.name}"

    def gives(self, score: str) -> bool:
        """Return whether this evaluation gives the score: `qa` gives `qa` and `qa_f1`."""
        return score == self.name or score.startswith(f"{self.name}_")

    def described(self, score: str) -> Described | None:
        """Return the description of a score, or None if the function has none."""
        descriptions: tuple[Described | None, dict[str, Described]] = getattr(
            self.function, _DESCRIPTION, (None, {})
        )
        description, parts = descriptions
        return parts.get(score.removeprefix(f"{self.name}_"), description)

    def scores(self, context: EvalContext, *, taken: Iterable[str] = ()) -> dict[str, float]:
        """Call the function and return its scores by their full names.

        Args:
            taken: the names of the scores of other evaluations.

        Raises:
            ConfigError: if the function did not return numbers.
            TrainingError: if a number is not finite.
            ModelError: if the GPU ran out of memory.
        """
        import torch

        at = "" if context.step is None else f" at step {context.step}"
        try:
            with separate_random_state(context.config.seed):
                returned = self.function(context, **self.options)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{self.key}={self.path} ran out of GPU memory{at}: {first_line(error)} "
                "Let the function process fewer rows at a time."
            ) from error
        except AnimaError as error:
            raise type(error)(f"{self.key}={self.path}{at}: {error}") from error
        except Exception as error:  # a bug in the function keeps its traceback
            error.add_note(f"{self.key}={self.path} raised this{at}.")
            raise
        scores: dict[str, float] = {}
        for part, value in returned.items() if isinstance(returned, dict) else [("", returned)]:
            name = self._score_name(part)
            if name in scores or name in taken:
                raise ConfigError(
                    f"{self.key}={self.path} returns the score {name}, which another evaluation "
                    "returns too. Rename one of them."
                )
            if name in TAKEN:
                raise ConfigError(
                    f"{self.key}={self.path} returns the score {name}, which is the name of a "
                    "value that every run logs. Rename the evaluation or the key of its dict."
                )
            scores[name] = self._number(value, f"{part}=" if part else "", at)
        of_main: dict[str, float] = context.world.all_gather(scores)[0]
        return of_main

    def _score_name(self, part: object) -> str:
        if part == "" or part == self.name:
            return self.name
        if not isinstance(part, str) or not re.fullmatch(r"\w+", part, re.ASCII):
            raise ConfigError(
                f"{self.key}={self.path} returned the key {part!r}. A key becomes part of the name "
                "of a score, so it may contain only letters, digits and '_'."
            )
        return f"{self.name}_{part}"

    def _number(self, value: object, part: str, at: str) -> float:
        what = f"{self.key}={self.path} returned {part}"
        if getattr(value, "ndim", None) == 0:  # a scalar of NumPy or torch
            value = cast("np.generic", value).item()
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ConfigError(
                f"{what}{_shown(value)}{at}. It must return a number, or a dict of numbers."
            )
        number = float(value)
        if not math.isfinite(number):
            raise TrainingError(
                f"{what}{number}{at}, which cannot be compared. Return a finite number, or raise "
                "an error that says why there is none."
            )
        return number


def load(config: RunConfig) -> dict[str, Custom]:
    """Import the functions of evals.custom, and check their options.

    Raises:
        ConfigError: if there is no such function, or it does not accept its options.
    """
    return {name: _load(name, table) for name, table in config.evals.custom.items()}


def described(config: RunConfig, scores: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the descriptions of those `scores` that a user's evaluation gives.

    They are stored as `metrics` in record.json. The score of a user's benchmark is a proportion.
    """
    custom = load(config)
    proportion = Described("maximize", percent=True)
    descriptions: dict[str, dict[str, Any]] = {}
    for score in scores:
        owners = [one for one in custom.values() if one.gives(score)]
        description = owners and max(owners, key=lambda one: len(one.name)).described(score)
        if score.removesuffix("_micro") in config.evals.benchmarks:
            descriptions[score] = proportion.to_json()
        elif description:
            descriptions[score] = description.to_json()
    return descriptions


def _load(name: str, table: Mapping[str, Any]) -> Custom:
    path = str(table[FUNCTION])
    options = {key: value for key, value in table.items() if key != FUNCTION}
    key = f"evals.custom.{name}"
    function = own(path, key=key)
    if not callable(function):
        raise ConfigError(f"{key}={path} is not a function. It is {type(function).__name__}.")
    _check_options(function, options, path, key)
    return Custom(name, path, function, options)


def _check_options(
    function: Callable[..., Any], options: Mapping[str, Any], path: str, key: str
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    kinds = inspect.Parameter
    parameters = list(signature.parameters.values())
    positional = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL)
    taken = parameters[1:]
    if not parameters or parameters[0].kind not in positional:
        raise ConfigError(
            f"{key}={path} takes no argument. Its first argument must be the EvalContext: "
            f"def {path.rpartition('.')[2]}(context)."
        )
    named = {
        one.name: one
        for one in taken
        if one.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    }
    takes_any = any(one.kind is kinds.VAR_KEYWORD for one in taken)
    for option in options:
        if option not in named and not takes_any:
            close = closest(option, named)
            known = f"It takes: {', '.join(named)}." if named else "It takes none."
            hint = f"Did you mean '{key}.{close}'?" if close else known
            raise ConfigError(f"{key}.{option}: {path} has no such option. {hint}")
    if parameters[0].name in options:
        raise ConfigError(
            f"{key}.{parameters[0].name} is not an option: {path} receives its EvalContext under "
            "this name. Rename the option."
        )
    for name, one in named.items():
        if one.default is kinds.empty and name not in options:
            raise ConfigError(
                f"{key}={path} needs a value for its option {name}. Set {key}.{name}=... together "
                f"with {key}.{FUNCTION}={path}."
            )


def _shown(value: object) -> str:
    """Return `the text 'abc'`, `nothing (None)` or `a value of type list`."""
    if value is None:
        return "nothing (None)"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return str(value) if isinstance(value, bool) else f"a value of type {type(value).__name__}"
