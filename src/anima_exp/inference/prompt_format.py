"""Choose the prompt format of a model, and describe which model wrote an answer.

The format is the user's choice, that of the run, or that of a published adapter.
"""

from pathlib import Path
from typing import Any

from anima_exp.config import GenerateConfig, RunConfig, UseConfig
from anima_exp.data import formats
from anima_exp.errors import ConfigError
from anima_exp.events import warn
from anima_exp.inference.saved_model import find_run_of_adapter, record
from anima_exp.inference.saved_template import has_template
from anima_exp.model import adapter_files
from anima_exp.results import identity
from anima_exp.results.provenance import folder_fingerprint
from anima_exp.system import paths


def of_config(config: GenerateConfig) -> str:
    """Return the prompt format of `run`, `adapter` or the base model.

    Warn if the format is a guess.

    Raises:
        ConfigError: if the format that the adapter was trained with is unknown.
    """
    if config.prompt_template:
        return config.prompt_template
    if config.adapter and not find_run_of_adapter(config.adapter):
        return _of_published(config.adapter, key="adapter")
    if not config.run and not config.adapter and config.model.source != "tiny":
        _warn_of_guess(config.model.name, config.data.prompt_template, config.model.source)
    return config.data.prompt_template


def of_extra_adapter(place: str, run: Path | None, *, given: str | None) -> str:
    """Return the prompt format of one of `extra_adapters`.

    Args:
        run: the run that trained it, if it was one of ours.
        given: the format that the user chose.
    """
    if given:
        return given
    return (
        record(run).settings["data.prompt_template"]
        if run
        else _of_published(place, key="extra_adapters")
    )


def _of_published(place: str, *, key: str) -> str:
    adapter_files.files(place, key=key)  # raises if there is no adapter
    if template := formats.format_of_published(Path(place).name):
        _warn_of_guess(place, template)
        return template
    if has_template(place, key=key):  # probably the one that it was trained in
        _warn_of_guess(place, formats.CHAT)
        return formats.CHAT
    raise ConfigError(
        f"{key}={place} does not say which prompt format it was trained with. Set it: "
        "prompt_template=alpaca, guanaco, guanaco_chat, hh_rlhf, plain, or chat for the "
        "tokenizer's own chat template."
    )


def _warn_of_guess(model: str, template: str, source: str = "") -> None:
    way_out = "Choose another with prompt_template=NAME."
    if template != formats.CHAT and (paths.known_path(source) / "chat_template.jinja").is_file():
        way_out = "It has a chat template. To use that: prompt_template=chat."
    warn(f"{model} is prompted in the format {template}. {way_out}")


# The settings that an answers file stores to say which model wrote its answers.


def of_run(config: RunConfig) -> dict[str, Any]:
    """Return the settings that identify the model that this run trains."""
    return _base(config) | {"adapter": f"run {identity.run_name(config)}"}


def of_use(config: UseConfig) -> dict[str, Any]:
    """Return the settings that identify the model that a command uses.

    Folders are identified by their content.

    Raises:
        ConfigError: if `run` is not a finished run.
    """
    adapter = config.adapter
    if config.run:
        adapter = f"run {record(Path(config.run)).name}"
    elif adapter and Path(adapter).is_dir():
        adapter = folder_fingerprint(Path(adapter), cache=paths.cache(config.cache_dir))
    return _base(config) | {"adapter": adapter}


def _base(config: RunConfig) -> dict[str, Any]:
    model, quant, cache = config.model, config.quant, paths.cache(config.cache_dir)
    template = config.data.template
    chosen = {"template": identity.content_hash(template, "data.template")} if template else {}
    return chosen | {
        "model": identity.content_hash(model.source, cache=cache)
        if model.source != "tiny"
        else "tiny",
        "revision": model.revision,
        "tokenizer": identity.content_hash(model.tokenizer, cache=cache)
        if model.tokenizer
        else None,
        "quant": quant.type.value,
        "double_quant": quant.double_quant,
        "compute_dtype": quant.compute_dtype.value,
        "precision": config.trainer.precision.value,
    }
