"""Check the settings of an adapter, and those that contradict them, before anything is loaded."""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from anima_exp.config.model import (
    LoraConfig,
    LoraInit,
    LoraVariant,
    Precision,
    Quantization,
    TargetModules,
)
from anima_exp.config.run import RunConfig
from anima_exp.errors import ConfigError

N = TypeVar("N", int, float)
_PLAIN_NAME = re.compile(r"[\w.-]+")
_LARGEST_RANK, _LARGEST_ALPHA = 65_536, 1e6


def is_pattern(name: str) -> bool:
    """Return whether a name of `lora.modules` is a regular expression: `(q|v)_proj`."""
    return _PLAIN_NAME.fullmatch(name) is None


def full_expression(pattern: str) -> str:
    """Return the expression as which PEFT reads `rank_pattern`: all of a name, or after a dot."""
    return rf"(.*\.)?({pattern})$"


def ranks(lora: LoraConfig) -> dict[str, int]:
    """Return `lora.rank_pattern` by name: ["q_proj:8"] -> {"q_proj": 8}.

    Raises:
        ConfigError: if an entry has another form.
    """
    return _by_name("lora.rank_pattern", lora.rank_pattern, int, _LARGEST_RANK)


def alphas(lora: LoraConfig) -> dict[str, float]:
    """Return `lora.alpha_pattern` by name: ["q_proj:32"] -> {"q_proj": 32.0}.

    Raises:
        ConfigError: if an entry has another form.
    """
    return _by_name("lora.alpha_pattern", lora.alpha_pattern, float, _LARGEST_ALPHA)


def _by_name(
    key: str, given: Iterable[str] | None, read: Callable[[str], N], largest: float
) -> dict[str, N]:
    result: dict[str, N] = {}
    for text in given or ():
        name, colon, number = str(text).rpartition(":")
        name = name.strip()
        try:
            value = read(number)
        except ValueError:
            value = read("0")
        if not (colon and name and 0 < value <= largest):
            kind = "whole number" if read is int else "number"
            raise ConfigError(
                f"{key}: {text} is not NAME:NUMBER with a {kind} from above 0 to {largest:,.0f}. "
                f"Write {key}=[q_proj:{'8' if read is int else '32'}], for example."
            )
        if name in result:
            raise ConfigError(f"{key} names {name} twice. Leave one of the two out.")
        result[name] = value
    return result


def check_lora(config: RunConfig) -> None:
    """Raise ConfigError at the first rule that the settings of the adapter break."""
    _target_modules(config)
    _base(config)
    _patterns(config.lora)
    _variant(config)
    _init(config)
    check_experts(config.lora)


def check_experts(lora: LoraConfig) -> None:
    """Raise ConfigError for what cannot be computed for experts: dropout, DoRA, initializations."""
    if not lora.experts:
        return
    if lora.variant is LoraVariant.dora:
        raise ConfigError(
            "lora.variant=dora cannot be computed for experts. Use lora.variant=plain or rslora "
            "with lora.experts=true."
        )
    if lora.init is not LoraInit.kaiming:
        raise ConfigError(
            f"lora.init={lora.init.value} cannot be computed for experts. Use lora.init=kaiming "
            "with lora.experts=true."
        )
    if lora.dropout:
        raise ConfigError(
            f"lora.dropout={lora.dropout:g} cannot be computed for experts, which PEFT adapts "
            "without dropout. Set lora.dropout=0 with lora.experts=true."
        )


def _target_modules(config: RunConfig) -> None:
    lora = config.lora
    named = lora.target_modules is TargetModules.named
    if named and not lora.modules:
        raise ConfigError(
            "lora.target_modules=named names no layer. Set lora.modules=[q_proj,v_proj], or choose "
            "a set, for example lora=all_linear."
        )
    if lora.modules is not None and not named:
        raise ConfigError(
            f"lora.modules={lora.modules} has no effect with lora.target_modules="
            f"{lora.target_modules.value}. Use lora.target_modules=named."
        )
    if not lora.is_full_finetune:
        return
    given = {
        "variant": lora.variant is not LoraVariant.plain and lora.variant.value,
        "init": lora.init is not LoraInit.kaiming and lora.init.value,
        "experts": lora.experts and "true",
        "rank_pattern": lora.rank_pattern,
        "alpha_pattern": lora.alpha_pattern,
        "train_embeddings": lora.train_embeddings and "true",
        "save_modules": lora.save_modules,
    }
    for name, value in given.items():
        if value:
            raise ConfigError(
                f"lora.{name}={value} is for adapters, but lora=full_finetune trains every weight. "
                "Leave it out, or keep an adapter."
            )


def _base(config: RunConfig) -> None:
    lora, full = config.lora, config.lora.is_full_finetune
    if full and config.quant.type is not Quantization.none:
        raise ConfigError(
            f"lora=full_finetune trains every weight, but quant={config.quant.type.value} freezes "
            "them. Use lora=full_finetune quant=none, or keep an adapter."
        )
    if config.model.adapter and full:
        raise ConfigError(
            f"lora=full_finetune trains every weight, but model.adapter={config.model.adapter} is "
            "an adapter. Leave one of them out, or merge it first: anima-exp merge"
        )
    if config.model.adapter and lora.init is not LoraInit.kaiming:
        raise ConfigError(
            f"lora.init={lora.init.value} is for a new adapter, but model.adapter="
            f"{config.model.adapter} has its values already. Leave one of them out."
        )
    if lora.dtype is Precision.fp16 and config.trainer.precision is Precision.fp16:
        raise ConfigError(
            "lora.dtype=fp16 does not work with trainer.precision=fp16, because the "
            "gradient scaler cannot unscale fp16 gradients. Use lora.dtype=fp32."
        )


def _patterns(lora: LoraConfig) -> None:
    given = {
        "modules": lora.modules or (),
        "rank_pattern": ranks(lora),
        "alpha_pattern": alphas(lora),
    }
    for key, names in given.items():
        for name in names:
            try:
                re.compile(name)
            except (re.error, RecursionError, OverflowError) as error:
                raise ConfigError(
                    f"lora.{key}: {name} is not a regular expression: {error}. Write names such "
                    "as q_proj, or correct it."
                ) from error
    for name in lora.save_modules or ():
        if is_pattern(name):
            raise ConfigError(
                f"lora.save_modules: {name} is no name of a module. Write names, such as norm or "
                "model.layers.0.mlp.gate."
            )


def _variant(config: RunConfig) -> None:
    lora = config.lora
    if lora.variant is not LoraVariant.dora:
        return
    if lora.init is not LoraInit.kaiming:
        raise ConfigError(
            f"lora.variant=dora and lora.init={lora.init.value} contradict each other: DoRA takes "
            "the lengths of the rows before it sets A and B. Use lora.init=kaiming, or "
            "lora.variant=rslora or plain."
        )
    if config.quant.type is Quantization.int8:
        raise ConfigError(
            "lora.variant=dora does not work with quant=int8, whose integers PEFT loses on a CPU. "
            "Use quant=nf4, or lora.variant=plain or rslora."
        )
    if config.trainer.fsdp:
        raise ConfigError(
            "trainer.fsdp=true shards the base, but lora.variant=dora reads whole matrices of it. "
            "Use lora.variant=plain or rslora, or model.device_map=auto."
        )


def _init(config: RunConfig) -> None:
    lora, quant = config.lora, config.quant
    if lora.init is LoraInit.eva and lora.variant is LoraVariant.rslora:
        raise ConfigError(
            "lora.init=eva gives each layer a rank of its own, and lora.variant=rslora would scale "
            "each by it. Use lora.variant=plain, or another lora.init."
        )
    if lora.init is LoraInit.loftq and not quant.is_4bit:
        raise ConfigError(
            f"lora.init=loftq starts at the error of 4-bit quantization, but quant.type="
            f"{quant.type.value}. Use quant=nf4 or fp4, or lora.init=pissa."
        )
    if lora.init is LoraInit.eva and config.trainer.fsdp:
        raise ConfigError(
            "trainer.fsdp=true shards the base, but lora.init=eva passes rows through the whole "
            "of it. Use another lora.init, or model.device_map=auto."
        )
