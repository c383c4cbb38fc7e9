"""The parts of transformers' loading and quantizing that its documentation does not promise.

It is the same from transformers 5.17 to 5.24. Each function says what it uses and what a change of
it would break; tests/contracts/test_transformers_loading.py checks every one.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes, is_4bit_layer
from anima_exp.libraries.log_level import log_level

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@contextmanager
def without_report() -> Iterator[None]:
    """Keep the table of missing and surplus weights out of the log.

    It is one record of the logger of `modeling_utils`. If it changes, the log holds the table.
    """

    def no_table(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(no_table)
    try:
        yield
    finally:
        logger.removeFilter(no_table)


@contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """Hide the progress bars of transformers inside unless `shown` is true."""
    from transformers.utils import logging as transformers_logging

    hide = not shown and transformers_logging.is_progress_bar_enabled()
    if hide:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if hide:
            transformers_logging.enable_progress_bar()


@contextmanager
def no_warmup_on_small_gpus() -> Iterator[None]:
    """Let a base be loaded onto a GPU of less than 1.2 GiB, as a slice of a larger one can be.

    `caching_allocator_warmup` allocates the base in one piece before it is read, but at most the
    GPU's memory less 1.2 GiB: it asks for a negative size there. It only saves time, so that it
    is left out inside if any GPU is as small. Under another name it would fail as before.
    """
    import torch
    from transformers import modeling_utils

    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if all(torch.cuda.get_device_properties(gpu).total_memory > 1.5 * 2**30 for gpu in gpus):
        yield
        return
    changed: Any = modeling_utils
    before = changed.caching_allocator_warmup
    changed.caching_allocator_warmup = lambda *_, **__: None
    try:
        yield
    finally:
        changed.caching_allocator_warmup = before


def holds_adapter(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether transformers loaded an adapter with the base, from the base's files.

    It then sets `_hf_peft_config_loaded`. Under another name such a base is trained unnoticed.
    """
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def stored_quantized(model: Any) -> bool:
    """Return whether a model's files were in 4 or 8 bits already: `hf_quantizer.pre_quantized`."""
    return bool(model.hf_quantizer.pre_quantized)


def layers_in_4_bits(model: "PreTrainedModel | PeftModel") -> set[str]:
    """Return the names of the layers of a model without weights that would be in 4 bits.

    The layers are replaced, as `from_pretrained` does it: by the method `preprocess_model` of the
    quantizer that AutoHfQuantizer makes. Without it, merging onto a dequantized base does not
    know which layers were rounded.
    """
    import_bitsandbytes()
    from transformers import BitsAndBytesConfig
    from transformers.quantizers.auto import AutoHfQuantizer

    four_bits = BitsAndBytesConfig(load_in_4bit=True)
    quantizer = AutoHfQuantizer.from_config(four_bits, pre_quantized=False)
    quantizer.preprocess_model(model=model, device_map={"": "cpu"})
    return {name for name, one in model.named_modules() if is_4bit_layer(one)}


def stored_type(quantization: Mapping[str, Any]) -> str | None:
    """Return nf4, fp4 or int8 for the `quantization_config` of a config.json; else None.

    transformers writes the fields of its BitsAndBytesConfig, two of them with an underscore.
    """
    if quantization.get("quant_method", "bitsandbytes") != "bitsandbytes":
        return None
    if quantization.get("load_in_8bit") or quantization.get("_load_in_8bit"):
        return "int8"
    if quantization.get("load_in_4bit") or quantization.get("_load_in_4bit"):
        named = str(quantization.get("bnb_4bit_quant_type", "fp4"))  # bitsandbytes' own default
        return named if named in ("nf4", "fp4") else None
    return None


def load_dequantized(source: str, **how: Any) -> tuple[Any, Mapping[str, Any]]:
    """Load a model that is stored in FP8, MXFP4 or compressed-tensors in bfloat16, on the CPU.

    Each format has a configuration class with `dequantize=True`, which transformers merges with the
    stored one. Without it the model would stay in that format on a GPU that computes in it.

    Returns:
        The model, and transformers' loading info.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    config = AutoConfig.from_pretrained(source, **how)
    stored = dict(config.quantization_config)
    dequantize = AUTO_QUANTIZATION_CONFIG_MAPPING[stored["quant_method"]](dequantize=True)
    # On a CPU transformers warns that it dequantizes, as it should.
    with warnings.catch_warnings(), log_level("transformers", logging.ERROR):
        warnings.filterwarnings("ignore", message="You passed `quantization_config`")
        found: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=torch.bfloat16,
            device_map={"": "cpu"},
            quantization_config=dequantize,
            output_loading_info=True,
            **how,
        )
    model, report = found
    return model, report


def save_as_in_memory(model: "PreTrainedModel", folder: Path) -> None:
    """Write a model's weights under the names and in the types that they have in memory.

    By default `save_pretrained` reverses what loading converted. It would write dequantized weights
    in FP8 again, with a config.json that does not say so.
    """
    model.save_pretrained(folder, save_original_format=False)


def says_other_sizes(error: Exception) -> bool:
    """Return whether weights have other sizes than the config says: the error names an argument."""
    return "ignore_mismatched_sizes" in str(error)


def asks_to_trust_code(error: Exception) -> bool:
    """Return whether a model needs code of its own: the error names the argument that allows it."""
    return "trust_remote_code" in str(error)
