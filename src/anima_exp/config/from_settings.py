"""Restore the config of a run from the settings in its record."""

from collections.abc import Mapping
from typing import Any

from anima_exp.config.run import RunConfig


def config_of(settings: Mapping[str, Any]) -> RunConfig:
    """Return a config with these settings, each by its dotted key; all others have their default.

    Nothing is checked: a record holds what was checked once.
    """
    from omegaconf import OmegaConf

    whole: dict[str, Any] = {}
    for key, value in settings.items():
        *groups, name = key.split(".")
        inner = whole
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), whole))
    assert isinstance(config, RunConfig)
    return config
