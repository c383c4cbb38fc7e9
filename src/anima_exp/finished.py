"""A finished run, an adapter on a base, or a bare base -> its settings, and the model to use."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp import paths
from anima_exp.config import ModelConfig, Quantization, TargetModules, UseConfig
from anima_exp.errors import ConfigError, ModelError, RunError
from anima_exp.results.record import RECORD, Record

# What of a run says which model it made, and how that is to be asked. All else is the command's.
_OF_THE_RUN = ("model", "quant", "lora", "data", "trainer.precision", "seed")


def with_run(arguments: Sequence[str]) -> list[str]:
    """A command line with `run=FOLDER` -> the same with that run's settings before all others.

    What the user gives beside it wins; a group that is chosen (`quant=none`) replaces the run's.

    Raises:
        ConfigError: the folder holds no finished run, or an adapter is given as well.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments if "=" in argument)
    folder = given.get("run", "").strip("'\"")
    if folder in ("", "null"):
        return list(arguments)
    if folder.startswith("~"):
        folder = str(Path(folder).expanduser())
        arguments = [f'run="{folder}"' if one.startswith("run=") else one for one in arguments]
    for key in ("adapter", "experiment"):
        if given.get(key, "null") != "null":
            raise ConfigError(f"run={folder} and {key}={given[key]} are both set; give one.")
    return [*_overrides(record(Path(folder)).settings, chosen=given), *arguments]


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


def load(config: UseConfig) -> tuple[Any, Any]:
    """Model and tokenizer, in evaluation mode and without gradients.

    Raises:
        ModelError: base or adapter cannot be loaded, or do not belong together.
    """
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
        loaded = _adapted(loaded, adapter)
    loaded.eval()
    return loaded, tokenizer


def _trained_whole(model: ModelConfig, run: Path) -> ModelConfig:
    return replace(model, source=str(run / "model"), revision=None, tokenizer=None)


def _adapted(base: Any, adapter: str) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(base, adapter)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"adapter={adapter}: no adapter can be loaded from there: {first}") from (
            error
        )
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise ModelError(
            f"adapter={adapter} was trained on another base than {base.config.name_or_path}: "
            "its weights are of other sizes. Choose its base with model=NAME."
        ) from error


def _overrides(settings: dict[str, Any], chosen: Iterable[str]) -> list[str]:
    """Hydra overrides for the run's own settings, but for the groups that the user chose."""
    groups = {key for key in chosen if "." not in key}
    return [
        f"{key}={_written(value)}"
        for key, value in settings.items()
        if key.startswith(tuple(f"{part}." for part in _OF_THE_RUN if "." not in part))
        or key in _OF_THE_RUN
        if key.partition(".")[0] not in groups
    ]


def _written(value: Any) -> str:
    """A JSON value in Hydra's grammar, where a backslash escapes quotes only."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, str):
        # A backslash is itself but before a quote, where it and its like are doubled.
        quoted = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
        return '"' + quoted.replace("${", "\\${") + '"'
    return json.dumps(value)
