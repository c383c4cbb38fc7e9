"""Our sweepers and our launcher, as Hydra's plug-ins; the work is in anima_exp.sweeping.

Hydra accepts plug-ins only from modules of `hydra_plugins`, and imports all of them in every Hydra
program of the environment, except those whose names begin with an underscore. So no other program
sees these: our own commands offer them (cli/compose.py), at every start. Import nothing heavy here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridConf:
    """params x points x multipliers; what the command line sets wins over the same key here."""

    _target_: str = "hydra_plugins._anima_exp.GridSweeper"
    params: dict[str, Any] = field(default_factory=dict)  # lora.rank: 8,16,64
    points: list[Any] = field(default_factory=list)  # - {model: llama7b, trainer.max_steps: 1875}
    multipliers: dict[str, Any] = field(default_factory=dict)  # trainer.max_steps: 0.5,1,2
    about: str | None = None  # the one of them that the question is about, as lora.rank
    reference_results: Any = None  # figures of a paper, which the comparison shows next to ours


@dataclass
class PlanConf(GridConf):
    """A grid that is not run: only what it would cost is shown."""

    _target_: str = "hydra_plugins._anima_exp.PlanSweeper"


@dataclass
class OptunaConf:
    """Settings that Optuna draws: choices, ranges, interval(...), tag(log, interval(...))."""

    _target_: str = "hydra_plugins._anima_exp.OptunaSweeper"
    params: dict[str, Any] = field(default_factory=dict)  # lora.rank: int(interval(8, 64))
    n_trials: int = 30  # in all, those of earlier starts included: raise it to continue
    sampler: str = "tpe"  # or random
    pruner: str = (
        "none"  # or median, successive_halving, hyperband: ends trials early that fall behind
    )
    seed: int = 0
    batch_size: int = 8  # trials at a time, where a cluster's launcher runs them
    points: list[Any] = field(default_factory=list)  # of a grid: refused
    multipliers: dict[str, Any] = field(default_factory=dict)  # of a grid: refused
    reference_results: Any = None


@dataclass
class PoolConf:
    _target_: str = "hydra_plugins._anima_exp.PoolLauncher"


def offer() -> None:
    """Register all of this with Hydra, in this program alone. Call before it composes anything."""
    # First Hydra's own scan, so that `optuna` means ours even if hydra-optuna-sweeper is installed.
    plugins, store = Plugins.instance(), ConfigStore.instance()
    for plugin in (GridSweeper, PlanSweeper, OptunaSweeper, PoolLauncher):
        plugins.register(plugin)
    for name, node in (("grid", GridConf), ("plan", PlanConf), ("optuna", OptunaConf)):
        store.store(group="hydra/sweeper", name=name, node=node, provider="anima_exp")
    store.store(group="hydra/launcher", name="pool", node=PoolConf, provider="anima_exp")


class GridSweeper(Sweeper):
    """Every cell of a grid, each once."""

    def __init__(self, **grid: Any) -> None:
        self.grid = grid

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.setting: dict[str, Any] = {
            "hydra_context": hydra_context,
            "task_function": task_function,
        }
        self.master = config

    def sweep(self, arguments: list[str]) -> Any:
        from anima_exp.sweeping.grid_sweep import GridParts, sweep

        sweep(self.master, arguments, GridParts(**self.grid), **self.setting)


class PlanSweeper(GridSweeper):
    """What the cells of a grid would cost."""

    def sweep(self, arguments: list[str]) -> Any:
        from anima_exp.sweeping.costs import show_costs
        from anima_exp.sweeping.grid_sweep import GridParts

        loader = self.setting["hydra_context"].config_loader
        show_costs(self.master, arguments, GridParts(**self.grid), loader=loader)


class OptunaSweeper(GridSweeper):
    """Trials that Optuna suggests."""

    def sweep(self, arguments: list[str]) -> Any:
        from anima_exp.errors import ConfigError

        if find_spec("optuna") is None:
            raise ConfigError("hydra/sweeper=optuna needs Optuna: pip install 'anima-exp[optuna]'")
        from anima_exp.sweeping.search.search import search

        search(self.master, arguments, **self.setting, **self.grid)


class PoolLauncher(Launcher):
    """Jobs as processes of this machine; the sweepers above talk to the pool themselves."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        pass

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from anima_exp.errors import ConfigError

        raise ConfigError(
            "hydra/launcher=pool runs the sweeps of hydra/sweeper=grid and optuna. "
            "With another sweeper use hydra/launcher=basic."
        )
