"""A finished run, an adapter on a base, or a bare base -> its settings, and the model to use."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp import paths
from anima_exp.command_line import said, written
from anima_exp.config import ModelConfig, Quantization, TargetModules, UseConfig
from anima_exp.errors import ConfigError, RunError
from anima_exp.model import adapter_base
from anima_exp.results.record import RECORD, Record

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
        return [*_overrides(record(folder).settings, chosen=given), *arguments]
    if {"model", "model.source"} & set(given):
        return arguments
    return [*adapter_base.overrides(place), *arguments]


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
    if not (folder / RECORD).is_file():
        what = "has not finished" if (folder / "settings.json").is_file() else "is no run's folder"
        raise ConfigError(f"run={folder} {what}: it holds no {RECORD}.")
    try:
        return Record.load(folder)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"Cannot read {folder / RECORD}: {error}") from error


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
    from anima_exp.model.base import load_base
    from anima_exp.model.load_adapter import put_on
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
