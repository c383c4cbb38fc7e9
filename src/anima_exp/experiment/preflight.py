"""Check the settings of a run for everything that can be checked before torch is imported."""

from collections.abc import Iterable

from anima_exp.cli import adapter_settings
from anima_exp.config import DataConfig, RunConfig, benchmark_key, benchmarks_of
from anima_exp.config.evals import FUNCTION
from anima_exp.config.lookup import check_importable
from anima_exp.data import apply_recipe, documents, formats, source
from anima_exp.data.chat import templates
from anima_exp.data.chat.prepare import check_no_template, check_settings
from anima_exp.data.parts import each, has_conversations
from anima_exp.distributed.environment import RankInfo
from anima_exp.errors import AnimaError, ConfigError
from anima_exp.evals import answers, neutral_text, score_names
from anima_exp.evals.multiple_choice import hub_sets as benchmarks
from anima_exp.evals.multiple_choice.reading import is_own
from anima_exp.events import warn
from anima_exp.libraries import hub
from anima_exp.model import base_config
from anima_exp.model.base_files import check_base_files, check_has_tokenizer
from anima_exp.planner.adapted import check_layers
from anima_exp.planner.find_shape import shape_of_folder
from anima_exp.planner.lengths import tokenizer_file
from anima_exp.results.tracking import check_installed, chosen
from anima_exp.system import hardware
from anima_exp.system.paths import expanded


def check_inputs(config: RunConfig) -> None:
    """Raise if the base, a recipe, file or question is missing, before torch is imported."""
    base_config.check_folders(config.model)
    check_base_files(config.model, config.quant)
    check_has_tokenizer(config.model)
    adapter_settings.check(config.model, config.lora)
    if config.model.adapter is None and (shape := shape_of_folder(config.model)):
        check_layers(shape, config.lora)
    check_files(config)
    score_names.check_keep_best(config)  # imports the modules of the user's evaluations


def check_files(config: RunConfig) -> None:
    """Raise if a recipe, data file or benchmark folder is missing: the checks of a plan."""
    _check_data(config.data)
    _check_template(config)
    for name, benchmark in benchmarks_of(config.evals).items():
        place, key = benchmark.path, benchmark_key(name)
        if place and not expanded(place, f"{key}.path").is_dir():
            raise ConfigError(f"{key}.path={place}: there is no such folder.")
        if not place and is_own(benchmark.source):
            check_importable(benchmark.source, key=f"{key}.source")
    if config.evals.forgetting:
        neutral_text.check(config.evals.forgetting, config.model.source)
    for name, table in config.evals.custom.items():
        check_importable(table[FUNCTION], key=f"evals.custom.{name}")
    answers.check(config)


def check_machine(config: RunConfig) -> None:
    """Raise for a precision, tracker or hub id that does not work on this machine.

    Raises:
        ModelError: if this machine does not support the precision, or the base cannot be loaded.
        DataError: if a data set or benchmark cannot be loaded from the hub.
        ConfigError: if the library of a tracker is not installed.
    """
    hardware.check_precision(config.trainer.precision)
    check_installed(config)
    check_hub(config)


def check_hub(config: RunConfig) -> None:
    """Raise if a base, data set or benchmark cannot be downloaded from the hub."""
    base_config.check_hub(config.model)
    if config.data.parts:
        each(config.data, source.check_hub)
    else:
        source.check_hub(config.data)
    for name, benchmark in benchmarks_of(config.evals).items():
        benchmarks.check_hub(benchmark, benchmark_key(name))
    if config.evals.forgetting:
        neutral_text.check_hub(config.evals.forgetting, config.model.source)


def check_hubs(configs: Iterable[RunConfig]) -> None:
    """Run `check_hub` for the cells of a sweep, once for each id."""
    for config in _different(configs):
        check_installed(config)
        check_hub(config)


def check_dry(configs: Iterable[RunConfig], *, here: bool = True) -> None:
    """Run all checks of a dry run: those that need no torch.

    Without a network the ids on the hub are not checked, and a warning says so.

    Args:
        here: whether the runs would be on this machine, so that it must support their precision.
    """
    unchecked: str | None = None
    for config in _different(configs):
        if here:
            hardware.check_precision(config.trainer.precision)
        apply_recipe.check_rows(config.data)
        check_installed(config)
        try:
            check_hub(config)
        except AnimaError:
            unchecked = hub.unreachable()
            if unchecked is None:
                raise
    if unchecked:
        warn(f"ids on the hub were not checked: {unchecked}.")


def _different(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Return one config of each group that needs the same checks."""
    different: dict[str, RunConfig] = {}
    for config in configs:
        evals = [*benchmarks_of(config.evals).items(), config.evals.forgetting]
        key = repr((config.data, config.model, evals, config.trainer.precision, chosen(config)))
        different.setdefault(key, config)
    return list(different.values())


def _check_data(data: DataConfig) -> None:
    formats.for_answers(data.prompt_template, key="data.prompt_template")
    if data.parts:
        each(data, _check_data)
        return
    if formats.holds_documents(data.recipe):
        documents.check_settings(data)
    elif formats.holds_conversations(data.recipe):
        check_settings(data)
    else:
        check_no_template(data)
    if data.path:
        source.training_source(data)
        source.validation_source(data)


def _check_template(config: RunConfig) -> None:
    """Raise if the chat template does not exist, or the tokenizer lacks its tokens."""
    if has_conversations(config.data):
        place = config.model.tokenizer or config.model.source
        templates.check_setting(config.data.template, tokenizer_file(config.model), place=place)


def check_world_size(config: RunConfig, here: RankInfo) -> int:
    """Return the number of processes that the settings choose.

    Raises:
        ConfigError: if another number was started, or they do not fit the other settings.
    """
    wanted = config.trainer.num_gpus or config.launcher.gpus_per_job
    started = here.size if here.size > 1 else wanted
    if here.size > 1 and config.trainer.num_gpus not in (None, here.size):
        raise ConfigError(
            f"trainer.num_gpus={config.trainer.num_gpus} does not match the {here.size} processes "
            "that were started. Leave trainer.num_gpus out, or start as many processes."
        )
    if started > config.trainer.batch_size:
        raise ConfigError(
            f"trainer.batch_size={config.trainer.batch_size} is smaller than the number of "
            f"processes ({started}). Start fewer processes or raise trainer.batch_size."
        )
    if started > 1 and config.model.device_map:
        raise ConfigError(
            f"model.device_map={config.model.device_map} spreads a model over the GPUs of one "
            f"process, but there are {started} processes. Use trainer.fsdp=true to shard the model "
            "over them."
        )
    if config.trainer.fsdp and started == 1:
        raise ConfigError(
            "trainer.fsdp=true shards the base over several processes, but there is only one. "
            "Add trainer.num_gpus=2 (or 4, 8), or leave trainer.fsdp at null."
        )
    return wanted
