"""Choose the neutral text of evals.forgetting for a base model."""

from dataclasses import replace

from anima_exp.config.evals import ForgettingConfig

KEY = "evals.forgetting"
TINY = "tiny"  # a source: English tasks of the tiny world
WIKITEXT = ("Salesforce/wikitext", "wikitext-2-raw-v1")


def chosen(config: ForgettingConfig, base: str) -> ForgettingConfig:
    """Return the settings with the source that a base gets by default.

    Args:
        base: model.source of the run.
    """
    if config.source or config.path:
        return config
    if base == "tiny":
        return replace(config, source=TINY)
    name, subset = WIKITEXT
    return replace(config, source=name, subset=config.subset or subset)
