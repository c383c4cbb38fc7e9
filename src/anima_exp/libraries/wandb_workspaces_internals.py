"""The parts of wandb-workspaces that we use although its documentation does not promise them.

They are those of wandb-workspaces 0.4; tests/contracts/test_wandb_workspaces.py checks every one.
A change of them ends `compare --wandb` with one line.
"""

import warnings
from importlib import import_module
from typing import Any


def library(name: str) -> Any:
    """Import a module of the library without its warnings about its own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"wandb_workspaces.{name}")


def axis(stored: str, *arguments: Any, **settings: Any) -> Any:
    """Return a ParallelCoordinatesPlotColumn of the setting that W&B keeps as `stored`.

    The library would write `config:lora.value.rank` for a key that holds dots. So the model that
    `_to_model` makes gets the right `accessor`.
    """
    base: Any = library("reports.v2").ParallelCoordinatesPlotColumn

    class Axis(base):  # type: ignore[misc]
        def _to_model(self) -> Any:
            model = super()._to_model()
            model.accessor = f"config:{stored}"
            return model

    return Axis(*arguments, **settings)


def scatter(stored: str, **settings: Any) -> Any:
    """Return a ScatterPlot over the setting that W&B keeps as `stored`: see `axis`."""
    base: Any = library("reports.v2").ScatterPlot

    class Scatter(base):  # type: ignore[misc]
        def _to_model(self) -> Any:
            model = super()._to_model()
            model.config.x_axis = f"config:{stored}"
            return model

    return Scatter(**settings)
