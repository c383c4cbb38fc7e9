"""Load the base model: quantized, frozen, and ready for an adapter."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.errors import ModelError, first_line
from anima_exp.events import heard, say
from anima_exp.libraries import hub
from anima_exp.libraries.bitsandbytes_internals import (
    import_bitsandbytes,
    keep_cpu_4bit_trainable,
    set_compute_type,
)
from anima_exp.libraries.torch_internals import processor_has_bf16
from anima_exp.libraries.transformers_internals import keep_weights
from anima_exp.libraries.transformers_loading import (
    no_warmup_on_small_gpus,
    progress_bars,
    without_report,
)
from anima_exp.model import base_checks, expert_layers, expert_weights
from anima_exp.model.architecture_check import probe_architecture
from anima_exp.model.base_checks import check_share
from anima_exp.model.base_config import attention_of, context_length, read_config
from anima_exp.model.base_files import check_base_files, check_sizes, check_stored_type
from anima_exp.model.dequantized_copy import in_16_bits
from anima_exp.model.device_map import meta_model
from anima_exp.model.ignored_settings import check_settings
from anima_exp.model.kernels import keep_angles_exact, undo_liger, use_tf32
from anima_exp.model.quantized_cache import cache_entry_of
from anima_exp.model.tokenizer import load_error_message, resolve_source
from anima_exp.model.varlen_attention import without_cudnn_attention
from anima_exp.system import hardware, paths
from anima_exp.system.hardware import bound_kernel_caches

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


DTYPES = {
    Precision.bf16: torch.bfloat16,
    Precision.fp16: torch.float16,
    Precision.fp32: torch.float32,
}


def device() -> torch.device:
    """Return the device of this process: its GPU, or else the CPU."""
    return (
        torch.device("cuda", torch.cuda.current_device())
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def autocast(where: torch.device, precision: Precision) -> torch.autocast:
    """Return an autocast context in which matrix products are computed in `precision`."""
    on = precision is not Precision.fp32
    return torch.autocast(where.type, dtype=DTYPES[precision] if on else None, enabled=on)


def check_precision(precision: Precision, where: torch.device) -> None:
    """Raise ModelError if the device cannot compute in `precision`."""
    if where.type != "cuda":
        hardware.refuse_precision(precision, gpu=None, bf16=True)
    elif precision is Precision.bf16:
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        hardware.refuse_precision(precision, gpu=torch.cuda.get_device_name(), bf16=bf16)


def slow_precision(precision: Precision, where: torch.device) -> str | None:
    """Return a warning if bf16 is slow on this CPU; None for other precisions and on a GPU."""
    if where.type != "cpu" or precision is not Precision.bf16:
        return None
    if processor_has_bf16() is False:
        return (
            "this CPU has no bf16 matrix instructions: trainer.precision=fp32 is many times faster"
        )
    # Measured with AMX, fp32 and bf16: 4.7 and 8.7 ms per token at a width of 512, 5.1 and 9.3 ms
    # at 1,024.
    return (
        "on a CPU trainer.precision=fp32 is about twice as fast as bf16, but takes more memory per "
        "token"
    )


def load_base(
    model: ModelConfig,
    quant: QuantConfig,
    *,
    precision: Precision,
    trainable: bool = False,
    cache: Path | None = None,
    device_map: Mapping[str, int] | None = None,
    to_be_split: bool = False,
) -> Any:
    """Load the causal language model of `model.source`, with frozen weights unless `trainable`.

    Linear layers are stored as `quant` says, embeddings, norms and head in `precision`. Trainable
    weights are fp32 throughout, because a small update to a bf16 weight rounds to zero.

    Args:
        cache: the cache folder, with which a base model is quantized only once
            (quantized_cache.py).
        device_map: module -> GPU. By default the model is loaded onto the device of this process,
            or placed by accelerate as `model.device_map` says.
        to_be_split: whether fsdp.py shards the model later. It then stays in CPU memory, and
            its architecture is not tried.

    Raises:
        ModelError: if it does not exist, or cannot be loaded or quantized as `quant` says.
    """
    check_precision(precision, device())
    use_tf32(device())
    undo_liger()  # an earlier run of this process may have used it
    if Precision.bf16 in (precision, quant.compute_dtype):
        bound_kernel_caches()
    check_base_files(model, quant)
    config = read_config(model)
    stored = check_stored_type(model.source, config.to_dict(), quant)
    if not stored and not model.trust_remote_code:  # their own code may need real weights
        _check_empty(model, quant)
    attention = attention_of(config, model.attention)
    if attention is not model.attention:
        say(
            f"base     {config.model_type} does not support model.attention="
            f"{model.attention.value} in transformers: {attention.value} is used"
        )
    where = torch.device("cpu") if to_be_split else device()
    dtype = torch.float32 if trainable else DTYPES[precision]
    how: dict[str, Any] = {
        "dtype": dtype,
        "attn_implementation": attention.value,
        "device_map": dict(device_map) if device_map else _device_map(model, where),
        "max_memory": None if device_map else _max_memory(model),
    }
    entry = cache_entry_of(model, quant, dtype=dtype, where=where, cache=cache)
    loaded = entry.load(partial(_from_cache, model, **how)) if entry else None
    if loaded is None:
        wanted = None if stored else _bitsandbytes(quant)
        files = in_16_bits(model, config.to_dict(), cache or paths.cache())
        experts = expert_weights.quantizing() if wanted else nullcontext()
        with experts:
            loaded = _from_pretrained(files, quantization_config=wanted, **how)
        if files is not model:
            loaded.name_or_path = loaded.config.name_or_path = resolve_source(model.source)
        if entry:
            entry.keep(loaded)
    if stored:
        _use_stored(loaded, model, quant)
    base_checks.check_finite(loaded)
    keep_cpu_4bit_trainable(loaded)
    if quant.is_4bit:
        expert_weights.set_expert_compute_type(loaded, DTYPES[quant.compute_dtype])
    expert_layers.install(loaded)
    keep_angles_exact(loaded)
    if not trainable:
        keep_weights(loaded)
    loaded.config.use_cache = False
    for parameter in loaded.parameters():
        if parameter.is_floating_point():  # 8-bit weights can't have the flag set
            parameter.requires_grad = trainable
    if model.norms_in_fp32:
        norms_in_fp32(loaded)
    if not to_be_split:
        with autocast(where, precision), without_cudnn_attention(where):
            probe_architecture(loaded, rounds_together=quant.type is Quantization.int8)
            check_settings(loaded, model.accept)
    return loaded


def check_context(model: "PreTrainedModel | PeftModel", longest: int) -> None:
    """Raise ModelError if a row is longer than the positions that the model was trained on."""
    positions = context_length(model.config)
    if positions and longest > positions:
        raise ModelError(
            f"The longest row has {longest} tokens, but {model.config.name_or_path} reads at most "
            f"{positions}. Lower data.max_prompt_tokens and data.max_response_tokens, or "
            "data.max_tokens for conversations."
        )


def norms_in_fp32(model: nn.Module) -> None:
    """Keep normalization layers in fp32, as qlora.py does: they are small and sensitive."""
    for name, module in model.named_modules():
        if "norm" in name.rpartition(".")[2].lower():
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.float32)


def _from_pretrained(model: ModelConfig, cached: str | None = None, **how: Any) -> Any:
    import_bitsandbytes()
    from transformers import AutoModelForCausalLM

    source = resolve_source(model.source)
    # Progress bars are shown only in a terminal, and only if messages are shown at all.
    bars = progress_bars(sys.stderr.isatty() and heard())
    try:
        with without_report(), bars, no_warmup_on_small_gpus(), hub.no_retries(cached or source):
            found: Any = AutoModelForCausalLM.from_pretrained(
                cached or source,
                revision=None if cached else model.revision,
                trust_remote_code=model.trust_remote_code,
                output_loading_info=True,
                **{key: value for key, value in how.items() if value is not None},
            )
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"model.source={source} does not fit on this GPU: {first_line(error)} "
            "Use a smaller model, quant=nf4, or model.device_map=auto over several GPUs."
        ) from error
    except Exception as error:  # each format, and each class of models, has errors of its own
        reason = base_checks.reason(error, model.attention)
        raise ModelError(
            load_error_message("model.source", source, reason, what="model")
        ) from error
    loaded, report = found
    base_checks.check_report(loaded, report, source)
    return loaded


def _from_cache(model: ModelConfig, cached: str, **how: Any) -> Any:
    folder = Path(cached)
    if not expert_weights.has_stacks(folder):
        return _from_pretrained(model, cached, **how)
    with expert_weights.quantizing(absent=True):
        loaded = _from_pretrained(model, cached, **how)
    expert_weights.load_stacks(loaded, folder)
    return loaded


def _use_stored(
    loaded: "PreTrainedModel | PeftModel", model: ModelConfig, quant: QuantConfig
) -> None:
    """Set the compute type of a base model whose files are quantized, and report it."""
    say(f"base     {model.source} is stored in {quant.type.value} and is used as it is")
    if quant.type is not Quantization.int8:
        set_compute_type(loaded, DTYPES[quant.compute_dtype])
    check_share(model, quant, loaded)


def _check_empty(model: ModelConfig, quant: QuantConfig) -> None:
    """Raise ModelError for faults that the sizes of weights show, before weights are loaded."""
    empty = meta_model(model)
    sizes = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    check_sizes(model, sizes, str(empty.base_model_prefix))
    if quant.type is not Quantization.none:
        check_share(model, quant, empty)


def _bitsandbytes(quant: QuantConfig) -> Any:
    from transformers import BitsAndBytesConfig

    if quant.type is Quantization.none:
        return None
    if quant.type is Quantization.int8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quant.type.value,
        bnb_4bit_use_double_quant=quant.double_quant,
        bnb_4bit_compute_dtype=DTYPES[quant.compute_dtype],
    )


def _device_map(model: ModelConfig, where: torch.device) -> Any:
    if model.device_map and where.type == "cuda":
        return model.device_map
    return {"": where.index if where.type == "cuda" else "cpu"}


def _max_memory(model: ModelConfig) -> Any:
    if not model.max_memory_gib or not torch.cuda.is_available():
        return None
    return {gpu: f"{model.max_memory_gib}GiB" for gpu in range(torch.cuda.device_count())}
