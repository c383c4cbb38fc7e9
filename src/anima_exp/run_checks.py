"""A run's config -> what can be known to be wrong with it before torch is imported."""

from dataclasses import fields

from anima_exp.answers import of_run
from anima_exp.config import DataConfig, RunConfig
from anima_exp.data import recipes, source, templates
from anima_exp.errors import ConfigError
from anima_exp.lookup import function
from anima_exp.parallel.place import Place
from anima_exp.paths import expanded


def check_inputs(config: RunConfig) -> None:
    """Raise for a recipe, file or question that is not there, before torch is imported."""
    _check_data(config.data)
    for name in (field.name for field in fields(config.evals)):
        place = getattr(getattr(config.evals, name), "path", None)
        if place and not expanded(place, f"evals.{name}.path").is_dir():
            raise ConfigError(f"evals.{name}.path={place}: there is no such folder.")
    of_run.check(config)


def _check_data(data: DataConfig) -> None:
    function(data.recipe, among=recipes, key="data.recipe")
    function(data.prompt_template, among=templates, key="data.prompt_template")
    if data.path:
        source.training(data)
        source.heldout(data)


def check_processes(config: RunConfig, here: Place) -> int:
    """How many processes the run asks for.

    Raises:
        ConfigError: they are not those that were started, or too many to share a batch.
    """
    wanted = config.trainer.gpus or config.launcher.gpus_per_job
    started = here.size if here.size > 1 else wanted
    if here.size > 1 and config.trainer.gpus not in (None, here.size):
        raise ConfigError(
            f"trainer.gpus={config.trainer.gpus}, but {here.size} processes were started. Leave "
            "one of the two out."
        )
    if started > config.trainer.batch_size:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size} has not a row for each of {started} "
            "processes. Use fewer, or a larger batch."
        )
    if started > 1 and config.model.device_map:
        raise ConfigError(
            f"model.device_map={config.model.device_map} spreads a model over the GPUs of one "
            f"process, and there are {started}. trainer.shard_base=true spreads it over these."
        )
    if config.trainer.shard_base and started == 1:
        raise ConfigError(
            "trainer.shard_base=true splits the base over several processes, and there is one. "
            "Add trainer.gpus=2 (or 4, 8), or leave it at null."
        )
    return wanted
