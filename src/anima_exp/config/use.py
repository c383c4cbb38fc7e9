"""A model to use rather than to train."""

from dataclasses import dataclass

from anima_exp.config.run import RunConfig


@dataclass
class UseConfig(RunConfig):
    """A finished run's model, an adapter on a base, or a bare base; the rest as of a run."""

    run: str | None = None  # a run's folder: its model, data and adapter
    adapter: str | None = None  # or an adapter's folder or hub id, on `model`


@dataclass
class EvaluateConfig(UseConfig):
    """Which model to measure with which `evals`, and what to show."""

    subjects: bool = False  # one line for each subject, not for the categories alone
    prompts: str | None = None  # write the benchmarks' prompts into this folder instead
