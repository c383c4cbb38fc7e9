"""Find and load a model to use: a finished run, an adapter on a base, or a base model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp.config import MergeConfig, ModelConfig, Quantization, UseConfig
from anima_exp.errors import ConfigError, RunError, first_line
from anima_exp.model import base_config as model_place
from anima_exp.model.base_files import check_base_files
from anima_exp.results.record import RECORD, Record
from anima_exp.system import paths


def absolute(found: Record) -> dict[str, Any]:
    """The run's settings, with paths that hold in any folder: it may have been given `./base`."""
    return found.settings | found.places


def check_base(config: UseConfig) -> None:
    """Raise ModelError if there is no base, or no whole one, before torch is imported."""
    if config.model.adapter and not (config.run or config.adapter):
        raise adapter_of_a_run(config.model.adapter)
    if config.run and config.lora.is_full_finetune:
        return
    model_place.check_folders(config.model)
    if not getattr(config, "export_prompts", None):  # for those the tokenizer is enough
        merging = isinstance(config, MergeConfig)  # which has a line of its own for such a base
        check_base_files(config.model, None if merging else config.quant)
    model_place.check_hub(config.model)


def find_run_of_adapter(adapter: str) -> Path | None:
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
            what = "has not finished" if begun else "is not a run folder"
            raise ConfigError(f"run={folder} {what}: it contains no {RECORD}.")
        return Record.read(folder)
    except OSError as error:
        raise RunError(f"Cannot read {folder / RECORD}: {error.strerror}. Make it readable.") from (
            error
        )
    except ValueError as error:
        raise RunError(
            f"{folder / RECORD} is damaged: {first_line(error)}. Run the command that trained the "
            "run again to rebuild it."
        ) from error


def model_label(config: UseConfig) -> str:
    """What to call the model: the run's folder, the adapter, or the base."""
    for place in (config.run, config.adapter):
        if place:
            path = Path(place).resolve() if Path(place).exists() else Path(place)
            return path.parent.name if path.name == "adapter" else path.name
    return config.model.name


def load_saved_model(config: UseConfig, beside: Sequence[str] = ()) -> tuple[Any, Any]:
    """Model and tokenizer, in evaluation mode and without gradients.

    Args:
        beside: more adapters for the same base; adapter_name says what each is called.

    Raises:
        ModelError: base or adapter cannot be loaded, or do not belong together.
    """
    from anima_exp.model import lora_linear
    from anima_exp.model.adapter import load_adapter
    from anima_exp.model.base import load_base
    from anima_exp.model.tokenizer import load_tokenizer

    model, adapter, quant = config.model, config.adapter, config.quant
    if config.run and config.lora.is_full_finetune:
        model = _trained_whole(model, Path(config.run))
        quant = replace(quant, type=Quantization.none, double_quant=False)
    elif config.run:
        adapter = str(Path(config.run) / "adapter")
    tokenizer = load_tokenizer(model)
    loaded = load_base(
        model, quant, precision=config.trainer.precision, cache=paths.cache(config.cache_dir)
    )
    if adapter:
        loaded = load_adapter(loaded, adapter, name=adapter_name(0))
    for number, place in enumerate(beside, start=1):
        loaded = load_adapter(loaded, place, name=adapter_name(number), key="extra_adapters")
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


def adapter_of_a_run(adapter: str) -> ConfigError:
    return ConfigError(
        f"model.adapter={adapter} is for training an adapter further. To use the adapter, set "
        f"adapter={adapter}."
    )
