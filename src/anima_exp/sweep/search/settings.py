"""How a search is made: the sampler that suggests trials, the pruner that gives some up."""

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from anima_exp.errors import ConfigError

_MOST = 100_000  # trials: suggesting one takes longer with each that is known
_LARGEST_SEED = 2**32 - 1  # NumPy's limit

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


@dataclass(frozen=True)
class Steps:
    """Where a trial can be given up."""

    first: int  # the first evaluation, or log line
    last: int
    factor: int  # sweep.reduction_factor: one in so many goes on


PRUNERS: dict[str, Callable[[Steps], BasePruner]] = {
    "none": lambda steps: optuna.pruners.NopPruner(),
    "median": lambda steps: optuna.pruners.MedianPruner(),
    "successive_halving": lambda steps: optuna.pruners.SuccessiveHalvingPruner(
        min_resource=steps.first, reduction_factor=steps.factor
    ),
    "hyperband": lambda steps: optuna.pruners.HyperbandPruner(
        min_resource=steps.first, max_resource=steps.last, reduction_factor=steps.factor
    ),
}


@dataclass(frozen=True)
class Search:
    """hydra.sweeper.*, without what is searched."""

    n_trials: int  # in all, over all starts
    sampler: str
    pruner: str
    seed: int
    batch_size: int

    def check(self) -> None:
        """Raise ConfigError for a value that cannot be."""
        for key, value, known in (
            ("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS),
        ):  # fmt: skip
            if value not in known:
                raise ConfigError(f"hydra.sweeper.{key}={value} is not one of {', '.join(known)}.")
        for key, number in (("n_trials", self.n_trials), ("batch_size", self.batch_size)):
            if not 1 <= number <= _MOST:
                raise ConfigError(f"hydra.sweeper.{key}={number} must be from 1 to {_MOST:,}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise ConfigError(f"hydra.sweeper.seed={self.seed} must be from 0 to {_LARGEST_SEED}.")
