"""A model to use rather than to train."""

from dataclasses import dataclass

from anima_exp.config.run import RunConfig
from anima_exp.config.setting import setting


@dataclass
class UseConfig(RunConfig):
    """A finished run's model, an adapter on a base, or a bare base; the rest as of a run."""

    run: str | None = setting(None, "A run's folder: its model, data and adapter.")
    adapter: str | None = setting(None, "Or an adapter's folder or hub id, on model.")


@dataclass
class EvaluateConfig(UseConfig):
    """Which model to measure with which `evals`, and what to show."""

    subjects: bool = setting(False, "Show one line for each subject, not for categories alone.")
    prompts: str | None = setting(
        None, "Write the benchmarks' prompts into this folder and measure nothing."
    )
