"""Where Hydra looks for sweepers and launchers; the work is in anima_exp.sweep.

Hydra imports this file at every start, so it imports nothing heavy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridConf:
    """params x rows x factors; what the command line sets wins over the same key here."""

    _target_: str = "hydra_plugins.anima_exp.GridSweeper"
    params: dict[str, Any] = field(default_factory=dict)  # lora.rank: 8,16,64
    rows: list[Any] = field(default_factory=list)  # - {model: llama7b, trainer.steps: 1875}
    factors: dict[str, Any] = field(default_factory=dict)  # trainer.steps: 0.5,1,2
    published: Any = None  # a paper's figures, which the comparison shows beside ours


@dataclass
class PoolConf:
    _target_: str = "hydra_plugins.anima_exp.PoolLauncher"


store = ConfigStore.instance()
store.store(group="hydra/sweeper", name="grid", node=GridConf, provider="anima_exp")
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
        from anima_exp.sweep.sweeper import sweep

        sweep(self.master, arguments, **self.setting, **self.grid)


class PoolLauncher(Launcher):
    """Jobs as processes of this machine; GridSweeper talks to the pool itself."""

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
