"""Settings of a run, or of a model to use -> which model wrote an answer."""

from pathlib import Path
from typing import Any

from anima_exp import paths
from anima_exp.config import RunConfig, UseConfig
from anima_exp.finished import record
from anima_exp.results import identity
from anima_exp.results.provenance import folder_fingerprint


def of_run(config: RunConfig) -> dict[str, Any]:
    """The model that this run trains."""
    return _base(config) | {"adapter": f"run {identity.name(config)}"}


def of_use(config: UseConfig) -> dict[str, Any]:
    """The model that a command was told to use; folders count by their content.

    Raises:
        ConfigError: `run` is no finished run.
    """
    adapter = config.adapter
    if config.run:
        adapter = f"run {record(Path(config.run)).name}"
    elif adapter and Path(adapter).is_dir():
        adapter = folder_fingerprint(Path(adapter), cache=paths.cache(config.cache))
    return _base(config) | {"adapter": adapter}


def _base(config: RunConfig) -> dict[str, Any]:
    model, quant, cache = config.model, config.quant, paths.cache(config.cache)
    return {
        "model": identity.content(model.source, cache=cache) if model.source != "tiny" else "tiny",
        "revision": model.revision,
        "tokenizer": identity.content(model.tokenizer, cache=cache) if model.tokenizer else None,
        "quant": quant.type.value,
        "double_quant": quant.double_quant,
        "compute_dtype": quant.compute_dtype.value,
        "precision": config.trainer.precision.value,
    }
