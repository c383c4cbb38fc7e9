"""Find and load a model to use: a finished run, an adapter on a base, or a base model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import MergeConfig, ModelConfig, Quantization, UseConfig
from anima_exp.errors import ConfigError, RunError, first_line
from anima_exp.model import base_config as model_place
from anima_exp.model.base_files import check_base_files
from anima_exp.results.record import RECORD, Record, why_no_record
from anima_exp.system import paths

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def absolute(run: Record) -> dict[str, Any]:
    """Return the run's settings with absolute paths in place of relative ones."""
    return run.settings | run.places


def check_base(config: UseConfig) -> None:
    """Raise ModelError if the base model is missing or incomplete, before torch is imported."""
    if config.model.adapter and not (config.run or config.adapter):
        raise adapter_of_a_run(config.model.adapter)
    if config.run and config.lora.is_full_finetune:
        return
    model_place.check_folders(config.model)
    if not getattr(config, "export_prompts", None):  # exporting needs only the tokenizer
        merging = isinstance(config, MergeConfig)  # has its own error for a quantized base
        check_base_files(config.model, None if merging else config.quant)
    model_place.check_hub(config.model)


def find_run_of_adapter(adapter: str) -> Path | None:
    """Return the folder of the finished run that contains `adapter`, or None."""
    folder = Path(adapter).resolve()
    return (
        folder.parent if folder.name == "adapter" and (folder.parent / RECORD).is_file() else None
    )


def record(folder: Path) -> Record:
    """Return the record of a finished run.

    Raises:
        ConfigError: if the folder has no record.
        RunError: if the record cannot be read.
    """
    try:
        if not paths.is_file(folder / RECORD):
            begun = paths.is_file(folder / "settings.json")
            what = "has not finished" if begun else "is not a run folder"
            raise ConfigError(f"run={folder} {what}: {why_no_record(folder)}.")
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
    """Return the name of the model: the run's folder, the adapter, or the base."""
    for place in (config.run, config.adapter):
        if place:
            path = Path(place).resolve() if Path(place).exists() else Path(place)
            return path.parent.name if path.name == "adapter" else path.name
    return config.model.name


def load_saved_model(
    config: UseConfig, extra_adapters: Sequence[str] = ()
) -> "tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]":
    """Load the model and its tokenizer, in evaluation mode.

    Args:
        extra_adapters: more adapters for the same base, loaded under the names of `adapter_name`.

    Raises:
        ModelError: if the base or an adapter cannot be loaded, or they do not fit together.
    """
    from anima_exp.model import lora_linear
    from anima_exp.model.adapter import load_adapter
    from anima_exp.model.base import load_base
    from anima_exp.model.tokenizer import load_tokenizer

    model, adapter, quant = config.model, config.adapter, config.quant
    if config.run and config.lora.is_full_finetune:
        model = _full_finetune(model, Path(config.run))
        quant = replace(quant, type=Quantization.none, double_quant=False)
    elif config.run:
        adapter = str(Path(config.run) / "adapter")
    tokenizer = load_tokenizer(model)
    use_saved_template(tokenizer, config)
    loaded = load_base(
        model, quant, precision=config.trainer.precision, cache=paths.cache(config.cache_dir)
    )
    if adapter:
        loaded = load_adapter(loaded, adapter, name=adapter_name(0))
    for number, place in enumerate(extra_adapters, start=1):
        loaded = load_adapter(loaded, place, name=adapter_name(number), key="extra_adapters")
    if adapter or extra_adapters:
        # Compute as in training. PEFT rounds to bf16 elsewhere, and casts A and B for every token.
        lora_linear.use_if_plain(loaded)
    loaded.eval()
    return loaded, tokenizer


def use_saved_template(tokenizer: "PreTrainedTokenizerBase", config: UseConfig) -> None:
    """Give the base's tokenizer the model's chat template, and the token that ends its answers.

    It is the template that is saved with `run` or `adapter`, or the one that the user chooses with
    data.template. Without either, a model that is prompted in a chat template gets the one that its
    data would be put in.

    Raises:
        ModelError: if the files of the saved tokenizer cannot be read.
        ConfigError: if there is no template of this name.
    """
    from anima_exp.data import prompts
    from anima_exp.data.chat.asking import stop_ids
    from anima_exp.data.chat.templates import choose, use_template
    from anima_exp.data.parts import has_conversations
    from anima_exp.inference.saved_template import use_template_of

    chosen, place, key = config.data.template, config.adapter, "adapter"
    run = Path(config.run) if config.run else find_run_of_adapter(config.adapter or "")
    if config.run:
        part = "model" if config.lora.is_full_finetune else "adapter"
        place, key = str(Path(config.run) / part), "run"
    recorded = absolute(record(run)).get("data.template") if run else None
    if place and chosen == recorded and use_template_of(tokenizer, place, key=key):
        return
    known = chosen or tokenizer.chat_template or has_conversations(config.data)
    format_name = getattr(config, "prompt_template", None) or config.data.prompt_template
    if known and prompts.is_chat(format_name):
        template = choose(chosen, tokenizer)
        use_template(tokenizer, template, stop_ids(template, tokenizer))


def tokenizer_of(model: ModelConfig, adapter: str) -> "PreTrainedTokenizerBase":
    """Return the base's tokenizer with the chat template and the end token of an extra adapter."""
    from anima_exp.inference.saved_template import use_template_of
    from anima_exp.model.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    use_template_of(tokenizer, adapter, key="extra_adapters")
    return tokenizer


def adapter_name(number: int) -> str:
    """Return PEFT's name of the adapter that `load_saved_model` loads as its `number`th."""
    return f"beside{number}" if number else "default"


def _full_finetune(model: ModelConfig, run: Path) -> ModelConfig:
    return replace(model, source=str(run / "model"), revision=None, tokenizer=None)


def adapter_of_a_run(adapter: str) -> ConfigError:
    """Return the error for model.adapter in a command that uses a model."""
    return ConfigError(
        f"model.adapter={adapter} is for training an adapter further. To use the adapter, set "
        f"adapter={adapter}."
    )
