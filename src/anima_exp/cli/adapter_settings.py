"""Derive settings from `model.adapter`, the adapter that a run trains further."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.cli.overrides import plain_value, to_override
from anima_exp.cli.saved_run import overrides
from anima_exp.config import LoraConfig, LoraVariant, ModelConfig, TargetModules
from anima_exp.errors import ConfigError, ModelError
from anima_exp.model import adapter_files

KEY = "model.adapter"
# Features of adapters that training does not support.
_OTHER_KINDS = (
    "lora_bias", "trainable_token_indices", "layer_replication", "use_qalora",
    "alora_invocation_tokens", "megatron_config", "use_bdlora", "arrow_config", "velora_config",
    "kasa_config", "monteclora_config",
)  # fmt: skip
_LISTS = ("rank_pattern", "alpha_pattern", "save_modules")


@dataclass(frozen=True)
class Adapter:
    """The values of an adapter's files that the settings of a run must match."""

    rank: int
    alpha: float
    layers: list[str]  # `q_proj`
    variant: LoraVariant = LoraVariant.plain
    rank_pattern: tuple[str, ...] = ()  # `q_proj:8`
    alpha_pattern: tuple[str, ...] = ()
    save_modules: tuple[str, ...] = ()
    experts: bool = False  # whether it adapts stacks of experts too

    def overrides(self) -> list[str]:
        """Return the settings as overrides of a command line."""
        result = [
            f"lora.target_modules={TargetModules.named.value}",
            f"lora.modules={to_override(self.layers)}",
            f"lora.rank={self.rank}",
            f"lora.alpha={to_override(self.alpha)}",
            *["lora.experts=true"] * self.experts,
        ]
        if self.variant is not LoraVariant.plain:
            result.append(f"lora.variant={self.variant.value}")
        for name in _LISTS:
            if values := getattr(self, name):
                result.append(f"lora.{name}={to_override(list(values))}")
        return result


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
    if "lora.experts" in given and (given["lora.experts"].lower() == "true") != result.experts:
        own_value = f"lora.experts={str(result.experts).lower()}"
        raise _contradiction(place, f"lora.experts={given['lora.experts']}", own_value)
    own = {"lora.rank": result.rank, "lora.alpha": result.alpha}
    for key, value in own.items():
        if key in given and _number(given[key]) != value:
            raise _contradiction(place, f"{key}={given[key]}", f"{key}={value:g}")
    variant = f"lora.variant={result.variant.value}"
    if given.get("lora.variant", result.variant.value) != result.variant.value:
        raise _contradiction(place, f"lora.variant={given['lora.variant']}", variant)
    for name in _LISTS:
        key, own_list = f"lora.{name}", list(getattr(result, name))
        if key in given and given[key].replace(" ", "") != to_override(own_list).replace(" ", ""):
            raise _contradiction(place, f"{key}={given[key]}", f"{key}={to_override(own_list)}")
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
    if lora.experts != result.experts:
        raise _in_a_file(model.adapter, f"lora.experts={str(lora.experts).lower()}", result)
    for key in ("variant", *_LISTS):
        own, given = getattr(result, key), getattr(lora, key)
        if key in _LISTS:
            own, given = sorted(own), sorted(given or ())
        if own != given:
            raise _in_a_file(model.adapter, f"lora.{key}={given}", result)
    if lora.train_embeddings:
        raise ConfigError(
            f"lora.train_embeddings=true is for a new adapter, but {KEY}={model.adapter} has its "
            "own modules that are trained as a whole. Leave it out."
        )
    if lora.target_modules is not TargetModules.named or {*(lora.modules or ())} != {
        *result.layers
    }:
        what = f"lora.target_modules={lora.target_modules.value}"
        raise _in_a_file(model.adapter, what, result)


def read(place: str) -> Adapter:
    """Return the rank, alpha, layers and variant of a LoRA adapter.

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
    if start := adapter_files.changes_the_base(settings):
        raise ModelError(
            f"{where} was initialized with init_lora_weights={start}, which also changes the base. "
            "Convert it first (PEFT's path_initial_model_for_weight_conversion)."
        )
    if settings.get("bias", "none") != "none":
        raise ModelError(
            f"{where} has bias={settings['bias']}, but training does not support biases. "
            "Give an adapter with bias=none."
        )
    try:
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: its adapter_config.json has no r or lora_alpha.") from error
    dora, rslora = settings.get("use_dora"), settings.get("use_rslora")
    if dora and rslora:
        raise ModelError(
            f"{where} has use_dora and use_rslora, but training supports one of the two. Give an "
            "adapter with one of them."
        )
    return Adapter(
        rank,
        alpha,
        _layers(place, settings, where),
        LoraVariant.dora if dora else LoraVariant.rslora if rslora else LoraVariant.plain,
        rank_pattern=_pattern(settings, "rank_pattern"),
        alpha_pattern=_pattern(settings, "alpha_pattern"),
        save_modules=tuple(settings.get("modules_to_save") or ()),
        experts=bool(settings.get("target_parameters")),
    )


def _pattern(settings: Mapping[str, Any], key: str) -> tuple[str, ...]:
    given = settings.get(key)
    return tuple(f"{name}:{one}" for name, one in given.items()) if given else ()


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
