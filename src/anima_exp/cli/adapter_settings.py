"""Derive settings from `model.adapter`, the adapter that a run trains further."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.cli.overrides import plain_value, to_override
from anima_exp.cli.saved_run import overrides
from anima_exp.config import LoraConfig, ModelConfig, TargetModules
from anima_exp.errors import ConfigError, ModelError
from anima_exp.model import adapter_files

KEY = "model.adapter"
# Features of adapters that training does not support.
_OTHER_KINDS = (
    "use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication",
    "target_parameters", "use_qalora", "alora_invocation_tokens", "megatron_config",
)  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """The values of an adapter's files that the settings of a run must match."""

    rank: int
    alpha: float
    layers: list[str]  # `q_proj`

    def overrides(self) -> list[str]:
        """Return the settings as overrides of a command line."""
        return [
            f"lora.target_modules={TargetModules.named.value}",
            f"lora.modules={to_override(self.layers)}",
            f"lora.rank={self.rank}",
            f"lora.alpha={self.alpha:g}",
        ]


def with_adapter(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the settings that follow from `model.adapter=PLACE`.

    The adapter's rank, alpha and layers, and without `model=` the base that it names, are put
    before the user's arguments.

    Raises:
        ConfigError: if the user gives other values for these settings, or several adapters.
        ModelError: if the adapter does not exist, or cannot be trained further.
    """
    given = dict(a.lstrip("+").partition("=")[::2] for a in arguments if "=" in a)
    place = plain_value(given.get(KEY, ""))
    if not place:
        return list(arguments)
    if "," in place and adapter_files.folder_of(place) is None:
        raise ConfigError(
            f"{KEY}={place} names several adapters, and each brings its own rank, alpha and "
            "layers. Start one command for each."
        )
    result = read(place)
    if "lora" in given:
        raise ConfigError(
            f"lora={given['lora']} contradicts {KEY}={place}, whose layers are fixed: "
            f"{', '.join(result.layers)}. Leave lora out."
        )
    own = {"lora.rank": result.rank, "lora.alpha": result.alpha}
    for key, value in own.items():
        if key in given and _number(given[key]) != value:
            raise _contradiction(place, f"{key}={given[key]}", f"{key}={value:g}")
    base = [] if {"model", "model.source"} & {*given} else overrides(place, key=KEY)
    return [*base, *result.overrides(), *arguments]


def check(model: ModelConfig, lora: LoraConfig) -> None:
    """Check the settings of a run against the adapter that it trains further.

    Raises:
        ConfigError: if rank, alpha or layers differ.
        ModelError: if the adapter does not exist, or cannot be trained further.
    """
    if model.adapter is None:
        return
    result = read(model.adapter)
    if lora.rank != result.rank:
        raise _in_a_file(model.adapter, f"lora.rank={lora.rank}", result)
    if lora.alpha != result.alpha:
        raise _in_a_file(model.adapter, f"lora.alpha={lora.alpha:g}", result)
    if lora.target_modules is not TargetModules.named or {*(lora.modules or ())} != {
        *result.layers
    }:
        what = f"lora.target_modules={lora.target_modules.value}"
        raise _in_a_file(model.adapter, what, result)


def read(place: str) -> Adapter:
    """Return the rank, alpha and layers of a LoRA adapter.

    Raises:
        ModelError: if the adapter does not exist, or cannot be trained further.
    """
    where = f"{KEY}={place}"
    settings = adapter_files.settings(place, key=KEY)
    if settings["peft_type"] != "LORA":
        raise ModelError(
            f"{where} is of type {settings['peft_type']}, but only LoRA adapters can be trained "
            "further. Give a LoRA adapter."
        )
    if other := next((key for key in _OTHER_KINDS if settings.get(key)), None):
        raise ModelError(
            f"{where} has {other}, which training does not support. Give a plain LoRA adapter."
        )
    if settings.get("bias", "none") != "none":
        raise ModelError(
            f"{where} has bias={settings['bias']}, but training does not support biases. "
            "Give an adapter with bias=none."
        )
    for key in ("rank_pattern", "alpha_pattern"):
        if settings.get(key):
            raise ModelError(
                f"{where} has a {key}, so its layers differ. Training supports one rank and one "
                "alpha for all layers."
            )
    try:
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: its adapter_config.json has no r or lora_alpha.") from error
    return Adapter(rank, alpha, _layers(place, settings, where))


def _layers(place: str, settings: Mapping[str, Any], where: str) -> list[str]:
    named = settings.get("target_modules")
    if isinstance(named, list) and named and not settings.get("layers_to_transform"):
        leaves = {str(one).rpartition(".")[2] for one in named}
        return sorted(leaves if all("." in str(one) for one in named) else map(str, named))
    return sorted({name.rpartition(".")[2] for name in adapter_files.layer_names(place, key=KEY)})


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _in_a_file(place: str, given: str, adapter: Adapter) -> ConfigError:
    """Return the error for a file, whose adapter's settings `with_adapter` does not add."""
    return ConfigError(
        f"{given} contradicts {KEY}={place}. Give {KEY} on the command line, so that these "
        f"settings are read from the adapter, or set them in the file: "
        f"{' '.join(adapter.overrides())}"
    )


def _contradiction(place: str, given: str, own: str) -> ConfigError:
    return ConfigError(
        f"{given} contradicts {KEY}={place}, which has {own}. An adapter that is trained further "
        f"keeps its own value. Leave the setting out, or start without {KEY}."
    )
