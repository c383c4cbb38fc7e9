"""A finished run, an adapter on a base, or a bare base -> its settings, and the model to use."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp.cli.overrides import said, written
from anima_exp.config import MergeConfig, ModelConfig, Quantization, TargetModules, UseConfig
from anima_exp.errors import ConfigError, ModelError, RunError, first_line
from anima_exp.libraries import hub
from anima_exp.model import adapter_files
from anima_exp.model import base_config as model_place
from anima_exp.model.base_files import check_base_files
from anima_exp.results.record import RECORD, Record
from anima_exp.system import paths

# What of a run says which model it made, and how that is to be asked. All else is the command's.
_OF_THE_RUN = ("model", "quant", "lora", "data", "trainer.precision", "seed")


def with_run(arguments: Sequence[str]) -> list[str]:
    """A command line with `run=FOLDER` -> the same with that run's settings before all others.

    With `adapter=PLACE` it is the base that the adapter names, unless the user names one; for the
    adapter in a run's folder, all that the run says. What the user gives beside it wins; a group
    that is chosen (`quant=none`) replaces the run's.

    Raises:
        ConfigError: the folder holds no finished run, or an adapter is given as well.
        ModelError: there is no such adapter.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments if "=" in argument)
    run, adapter = (_place(given, key) for key in ("run", "adapter"))
    if given.get("model.adapter", "null") != "null":
        raise _not_to_use(given["model.adapter"])
    if run is None and adapter is None:
        return list(arguments)
    for key in ("adapter", "experiment") if run else ():
        if given.get(key, "null") != "null":
            raise ConfigError(f"run={run} and {key}={given[key]} are both set; give one.")
    key, place = ("run", run) if run else ("adapter", adapter)
    assert place is not None
    arguments = [
        f"{key}={written(place)}"
        if one.startswith(f"{key}=~") or one.startswith(f'{key}="~')
        else one
        for one in arguments
    ]
    folder = Path(place) if run else run_of(place)
    if folder:
        settings = absolute(record(folder))
        if not {"model", "model.source"} & set(given):
            _check_base_folder(key, place, folder, settings)
        return [*_overrides(settings, chosen=given), *arguments]
    if {"model", "model.source"} & set(given):
        return arguments
    return [*adapter_files.overrides(place), *arguments]


def _not_to_use(adapter: str) -> ConfigError:
    return ConfigError(
        f"model.adapter={adapter} is an adapter that a run trains further. To use one, give "
        f"adapter={adapter}."
    )


def absolute(found: Record) -> dict[str, Any]:
    """The run's settings, with paths that hold in any folder: it may have been given `./base`."""
    return found.settings | found.places


def _check_base_folder(key: str, place: str, run: Path, settings: dict[str, Any]) -> None:
    """Raise ConfigError if the run's base was a local folder that does not exist now."""
    if settings["lora.target_modules"] == TargetModules.none.value:
        return  # the run's folder holds the whole model
    named = str(settings["model.source"])
    if named == "tiny" or paths.known_path(named).is_dir():
        return
    with suppress(ModelError):  # without an adapter, its loader says so
        adapter = adapter_files.settings(str(run / "adapter"))
        known = str(adapter.get("base_model_name_or_path"))
        if Path(known).is_dir():  # of a record without `places`
            settings["model.source"] = known
            return
    if hub.is_id(named) or (not named.startswith((".", "/", "~")) and "/" not in named):
        return
    raise ConfigError(
        f"{key}={place} was trained on model.source={named}: there is no such folder now. "
        "Add model.source=FOLDER, where the base is."
    )


def check_base(config: UseConfig) -> None:
    """Raise ModelError if there is no base, or no whole one, before torch is imported."""
    if config.model.adapter and not (config.run or config.adapter):
        raise _not_to_use(config.model.adapter)
    if config.run and config.lora.target_modules is TargetModules.none:
        return
    model_place.check_folders(config.model)
    if not getattr(config, "prompts", None):  # for those the tokenizer is enough
        merging = isinstance(config, MergeConfig)  # which has a line of its own for such a base
        check_base_files(config.model, None if merging else config.quant)
    model_place.check_hub(config.model)


def run_of(adapter: str) -> Path | None:
    """The folder of the finished run that made `adapter`, where it still lies in there."""
    folder = Path(adapter).resolve()
    return (
        folder.parent if folder.name == "adapter" and (folder.parent / RECORD).is_file() else None
    )


def record(folder: Path) -> Record:
    """The record of a finished run.

    Raises:
        ConfigError: there is none.
    """
    try:
        if not paths.is_file(folder / RECORD):
            begun = paths.is_file(folder / "settings.json")
            what = "has not finished" if begun else "is no run's folder"
            raise ConfigError(f"run={folder} {what}: it holds no {RECORD}.")
        return Record.load(folder)
    except OSError as error:
        raise RunError(f"Cannot read {folder / RECORD}: {error.strerror}. Make it readable.") from (
            error
        )
    except ValueError as error:
        raise RunError(
            f"{folder / RECORD} is damaged: {first_line(error)}. The command that trained the run "
            "makes it anew."
        ) from error


def name(config: UseConfig) -> str:
    """What to call the model: the run's folder, the adapter, or the base."""
    for place in (config.run, config.adapter):
        if place:
            path = Path(place).resolve() if Path(place).exists() else Path(place)
            return path.parent.name if path.name == "adapter" else path.name
    return config.model.name


def load(config: UseConfig, beside: Sequence[str] = ()) -> tuple[Any, Any]:
    """Model and tokenizer, in evaluation mode and without gradients.

    Args:
        beside: more adapters for the same base; adapter_name says what each is called.

    Raises:
        ModelError: base or adapter cannot be loaded, or do not belong together.
    """
    from anima_exp.model import lora_linear
    from anima_exp.model.adapter import put_on
    from anima_exp.model.base import load_base
    from anima_exp.model.tokenizer import load_tokenizer

    model, adapter, quant = config.model, config.adapter, config.quant
    if config.run and config.lora.target_modules is TargetModules.none:
        model = _trained_whole(model, Path(config.run))
        quant = replace(quant, type=Quantization.none, double_quant=False)
    elif config.run:
        adapter = str(Path(config.run) / "adapter")
    tokenizer = load_tokenizer(model)
    loaded = load_base(
        model, quant, precision=config.trainer.precision, cache=paths.cache(config.cache)
    )
    if adapter:
        loaded = put_on(loaded, adapter, name=adapter_name(0))
    for number, place in enumerate(beside, start=1):
        loaded = put_on(loaded, place, name=adapter_name(number), key="beside")
    if adapter or beside:
        # As in training: PEFT rounds to bf16 in other places, and casts A and B for every token.
        lora_linear.use_if_plain(loaded)
    loaded.eval()
    return loaded, tokenizer


def adapter_name(number: int) -> str:
    """What PEFT calls the adapter that `load` put on the base as its `number`th."""
    return f"beside{number}" if number else "default"


def _trained_whole(model: ModelConfig, run: Path) -> ModelConfig:
    return replace(model, source=str(run / "model"), revision=None, tokenizer=None)


def _place(given: Mapping[str, str], key: str) -> str | None:
    place = said(given.get(key, ""))
    if not place:
        return None
    return str(paths.expanded(place, key)) if place.startswith("~") else place


def _overrides(settings: dict[str, Any], chosen: Iterable[str]) -> list[str]:
    """Hydra overrides for the run's own settings, but for the groups that the user chose."""
    groups = {key for key in chosen if "." not in key}
    return [
        f"{key}={written(value)}"
        for key, value in settings.items()
        if key.startswith(tuple(f"{part}." for part in _OF_THE_RUN if "." not in part))
        or key in _OF_THE_RUN
        if key.partition(".")[0] not in groups
    ]
