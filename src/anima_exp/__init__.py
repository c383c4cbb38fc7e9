"""QLoRA experiments you can name and repeat.

    import anima_exp as ax

    config = ax.compose("model=tiny", "data=sample")
    record = ax.train(config)
    print(record.scores_after)

The names below are imported when they are first used, so `import anima_exp` costs a millisecond.
No function of them prints, unless it is called with `verbose=True`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anima_exp.api.experiments import compare, compose, plan, runs, sweep, train
    from anima_exp.api.models import evaluate, generate, load, merge
    from anima_exp.comparison.notebook import Comparison
    from anima_exp.config import RunConfig
    from anima_exp.data.chat.conversation import Conversation, Message, ToolCall
    from anima_exp.data.example import Example
    from anima_exp.data.formats import Format
    from anima_exp.errors import (
        AnimaError,
        ConfigError,
        DataError,
        ModelError,
        RunEnded,
        RunError,
        RunInterrupted,
        RunPaused,
        SweepError,
        TrainingError,
    )
    from anima_exp.planner.cost import Cost
    from anima_exp.results.record import Record

    __version__: str

__all__ = [
    "AnimaError",
    "Comparison",
    "ConfigError",
    "Conversation",
    "Cost",
    "DataError",
    "Example",
    "Format",
    "Message",
    "ModelError",
    "Record",
    "RunConfig",
    "RunEnded",
    "RunError",
    "RunInterrupted",
    "RunPaused",
    "SweepError",
    "ToolCall",
    "TrainingError",
    "__version__",
    "compare",
    "compose",
    "evaluate",
    "generate",
    "load",
    "merge",
    "plan",
    "runs",
    "sweep",
    "train",
]

# The module of each name, below this package. All other names are in errors.py.
_EXPERIMENTS, _MODELS = "api.experiments", "api.models"
_HOMES = {
    "compare": _EXPERIMENTS,
    "compose": _EXPERIMENTS,
    "plan": _EXPERIMENTS,
    "runs": _EXPERIMENTS,
    "sweep": _EXPERIMENTS,
    "train": _EXPERIMENTS,
    "evaluate": _MODELS,
    "generate": _MODELS,
    "load": _MODELS,
    "merge": _MODELS,
    "Comparison": "comparison.notebook",
    "Cost": "planner.cost",
    "Conversation": "data.chat.conversation",
    "Message": "data.chat.conversation",
    "ToolCall": "data.chat.conversation",
    "Example": "data.example",
    "Format": "data.formats",
    "Record": "results.record",
    "RunConfig": "config",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("anima-exp")
    elif name in __all__:
        value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package whose functions win over its modules of the same name.

    `python -m anima_exp.train` needs a module `train`, and importing it would hide the function.
    `from anima_exp.train import ...` still imports the module.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
