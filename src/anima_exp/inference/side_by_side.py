"""Find the adapters of extra_adapters=[...], and check that they can share one base in memory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anima_exp.config import GenerateConfig, Thinking
from anima_exp.errors import ConfigError
from anima_exp.inference import prompt_format
from anima_exp.inference.saved_model import find_run_of_adapter, model_label, record
from anima_exp.model import adapter_files
from anima_exp.results.identity import flatten
from anima_exp.results.record import RECORD
from anima_exp.system.paths import expanded

# The settings that the base in memory depends on. They must be the same for adapters to share it.
_OF_THE_BASE = (
    "model.tokenizer",
    "model.norms_in_fp32",
    "quant.type",
    "quant.double_quant",
    "quant.compute_dtype",
    "trainer.precision",
)

_WEIGHTS = "base_fingerprint"


@dataclass(frozen=True)
class ExtraAdapter:
    """One of `extra_adapters`, and its prompt format."""

    name: str
    adapter: str  # a folder or hub id
    template: str
    thinking: Thinking  # data.thinking of its run


def load_extra_adapters(config: GenerateConfig) -> list[ExtraAdapter]:
    """Return each of `extra_adapters`, in order.

    Raises:
        ConfigError: if one has another base, no adapter, or no known prompt format.
    """
    extra = [_extra_adapter(place, config) for place in config.extra_adapters]
    main = str(Path(config.run) / "adapter") if config.run else config.adapter or ""
    seen = {_real(main): model_label(config)}
    for place, other in zip(config.extra_adapters, extra, strict=True):
        if _real(other.adapter) in seen:
            raise ConfigError(
                f"extra_adapters={place} names an adapter that is already loaded. Name each "
                "adapter once."
            )
        seen[_real(other.adapter)] = other.name
    names = list(seen.values())
    return [
        replace(other, name=place) if names.count(other.name) > 1 else other
        for place, other in zip(config.extra_adapters, extra, strict=True)
    ]


def _real(adapter: str) -> str:
    folder = adapter_files.folder_of(adapter)
    return str(folder.resolve()) if folder else adapter


def _extra_adapter(place: str, config: GenerateConfig) -> ExtraAdapter:
    folder = expanded(place, "extra_adapters")
    if (folder / "settings.json").is_file() and not (folder / RECORD).is_file():
        raise ConfigError(f"extra_adapters={place} has not finished: it contains no {RECORD}.")
    run = folder if (folder / RECORD).is_file() else find_run_of_adapter(place)
    if run:
        _refuse_another_base(place, run, config)
    return ExtraAdapter(
        (run or folder).resolve().name if folder.exists() else folder.name,
        str(run / "adapter") if run else place,
        prompt_format.of_extra_adapter(place, run, given=config.prompt_template),
        Thinking(_settings(run).get("data.thinking") or config.data.thinking)
        if run
        else config.data.thinking,
    )


def _refuse_another_base(place: str, run: Path, config: GenerateConfig) -> None:
    first = Path(config.run) if config.run else find_run_of_adapter(config.adapter or "")
    ours, theirs = _settings(first) if first else flatten(config), _settings(run)
    if theirs["lora.target_modules"] == "none":
        raise ConfigError(
            f"extra_adapters={place} trained every weight, so it has no adapter to switch to."
        )
    differ = [key for key in ("model.source", "model.revision") if ours[key] != theirs[key]]
    if first:  # both records have the hash of the weights, which may have different names
        same = ours[_WEIGHTS] == theirs[_WEIGHTS]
        differ = [] if same else differ or [_WEIGHTS]
    differ += [key for key in _OF_THE_BASE if ours.get(key) != theirs.get(key)]
    if differ:
        key = differ[0]
        raise ConfigError(
            f"{config.run or config.adapter} and {place} cannot share one base in memory: "
            f"{key} is {ours.get(key)} for the first and {theirs.get(key)} for the second. "
            "Use them one at a time."
        )


def _settings(run: Path) -> dict[str, Any]:
    done = record(run)
    return {**done.settings, _WEIGHTS: done.base_fingerprint}
