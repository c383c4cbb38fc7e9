"""The parts of transformers' models that we use although its documentation does not promise them.

They are the same from transformers 5.17 to 5.24. Each function says what it uses and what a change
of it would break; tests/contracts/test_transformers.py checks every one. Loading and quantizing
have a file of their own (transformers_loading.py).
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import Cache, PreTrainedConfig, PreTrainedModel

Kept = list[tuple["torch.Tensor", "torch.Tensor"]]  # keys, values of each layer [1, heads, T, d]


def family_takes_sdpa(config: "PreTrainedConfig") -> bool | None:
    """Return whether all classes of a config's family use torch's attention; None without a class.

    The family is looked up in MODEL_FOR_CAUSAL_LM_MAPPING: AutoModelForCausalLM, which is
    documented, tells no class before it has built a model.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        family: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError:  # code of the model's own
        return None
    classes = family if isinstance(family, tuple) else (family,)
    return all(getattr(one, "_supports_sdpa", True) for one in classes)


def attention_of(config: "PreTrainedConfig") -> str:
    """Return the name of the attention that a model with this config computes."""
    return str(config._attn_implementation)


@contextmanager
def attention_by(
    config: "PreTrainedConfig", name: str, function: Callable[..., Any]
) -> Iterator[None]:
    """Make models with this config compute attention by `function` inside, without a mask.

    It is registered as attention and not as a mask, so that transformers builds none; and chosen
    by `_attn_implementation`, which every layer reads at each forward pass. If it is not read,
    rows see each other, which model/architecture_check.py notices.
    """
    from transformers import AttentionInterface

    before = config._attn_implementation
    AttentionInterface.register(name, function)
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


# What is passed to every attention function without an effect on its result.
_WITHOUT_EFFECT = frozenset(
    ("position_ids", "position_embeddings", "cache_position", "use_cache", "output_attentions",
     "output_hidden_states", "return_dict", "max_length_q", "max_length_k", "cu_seq_lens_q",
     "cu_seq_lens_k", "num_items_in_batch", "layer_idx", "past_key_values", "cache",
     "output_router_logits", "enable_gqa")
)  # fmt: skip


def changes_attention(name: str, value: object) -> bool:
    """Return whether an argument of an attention function, unknown to ours, changes its result.

    So a new argument of a later release is not ignored: rows are then computed one by one.
    """
    if name == "is_causal":
        return value is False
    return value is not None and name not in _WITHOUT_EFFECT


def chunk_of(module: "torch.nn.Module") -> int | None:
    """Return how many tokens a chunk of an attention layer has; none attends across (Llama 4).

    It uses `config.attention_chunk_size` and `config.layer_types[layer_idx]`. Under other names
    tokens would attend across chunks, which a short row does not show.
    """
    config = getattr(module, "config", None)
    size: int | None = getattr(config, "attention_chunk_size", None)
    kinds, layer = getattr(config, "layer_types", None), getattr(module, "layer_idx", None)
    if not size or not kinds or layer is None:
        return None
    return size if kinds[layer] == "chunked_attention" else None


_MIXER = re.compile(
    r"Mixer$|MambaLayer$|DeltaNet|DeltaAttention|ShortConv|LightningAttention$|RecurrentBlock$"
    r"|^Rwkv(Self|Linear)?Attention$|^RwkvFeedForward$|^[xm]LSTMLayer$"
)


def mixes_tokens(module: "torch.nn.Module") -> bool:
    """Return whether a module mixes tokens outside attention: linear attention, Mamba, convolution.

    It is known by its class name, or by a convolution in one dimension of its own. Without either,
    rows see each other, which model/architecture_check.py notices.
    """
    convolves = any(type(child).__name__ == "Conv1d" for child in module.children())
    return convolves or _MIXER.search(type(module).__name__) is not None


def set_activation_checkpointing(
    model: "PreTrainedModel | PeftModel", settings: dict[str, Any] | None
) -> None:
    """Switch activation checkpointing on with torch's `settings`, or off with None.

    transformers 5.2x has it by two names, and warns about the older one, gradient checkpointing.
    """
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if settings is None:
        getattr(model, f"{name}_checkpointing_disable")()
        return
    enable = getattr(model, f"{name}_checkpointing_enable")
    enable(**{f"{name}_checkpointing_kwargs": settings})


# RWKV rescales its weights when it switches between training and evaluation, against overflow in
# fp16. Gemma 3n clips its weights in training. Both write to the stored integers of a 4-bit weight.
_CHANGES_WEIGHTS = {"rescale_every": 0, "altup_coef_clip": None}


def keep_weights(model: "PreTrainedModel | PeftModel") -> None:
    """Stop a family from changing its frozen weights during a forward pass.

    It does so by fields of its config, which each pass reads.
    """
    config = model.config.get_text_config()
    for name, off in _CHANGES_WEIGHTS.items():
        if getattr(config, name, None):
            object.__setattr__(config, name, off)  # its type may not allow None


def can_checkpoint(model: "PreTrainedModel | PeftModel") -> bool:
    """Return whether a model's class supports activation checkpointing.

    It says so by `supports_gradient_checkpointing`. Without it, switching it on is a ValueError.
    GIT says so too, but adds to its embeddings in place, which transformers marks as trained.
    """
    supported = bool(getattr(model, "supports_gradient_checkpointing", False))
    return supported and getattr(model.config, "model_type", None) != "git"


def is_conv1d(module: "torch.nn.Module") -> bool:
    """Return whether a layer's class is GPT-2's Conv1D, whose weight is [in, out]."""
    return type(module).__name__ == "Conv1D"


def keeps_logits(base: "PreTrainedModel | PeftModel") -> bool:
    """Return whether a forward pass takes `logits_to_keep`, to leave out logits of early positions.

    It is looked up among the parameters of `forward`, since families differ.
    """
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def cache_argument(base: "PreTrainedModel | PeftModel") -> str:
    """Return the name by which a forward pass takes the cache: `cache` since transformers 5.24.

    It was `past_key_values` before, of which newer releases warn. A model with code of its own
    may have either.
    """
    known = inspect.signature(base.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def cache_in(output: object) -> Any:
    """Return the cache that a forward pass gives back; None without one for attention.

    Its name is that of `cache_argument`. Since 5.24 the cache of a family without attention
    (Mamba) has the same name. It was called `cache_params` before, and is left out: rows of
    different lengths cannot continue from it.
    """
    if not isinstance(output, Mapping):  # of code of the model's own
        return getattr(output, "past_key_values", None)
    if "cache" not in output:
        return output.get("past_key_values")  # as an attribute it would log a warning in 5.24
    from transformers.cache_utils import CacheLayerMixin

    result = output["cache"]
    layers = getattr(result, "layers", None) or ()
    attends = not layers or any(isinstance(layer, CacheLayerMixin) for layer in layers)
    return result if attends else None


def can_drop_rows(cache: "Cache") -> bool:
    """Return whether rows can leave a batch: layers of linear attention or convolution cannot yet.

    The method `batch_select_indices` is on the cache and on each of its `layers` that can.
    """
    parts = [cache, *(getattr(cache, "layers", None) or ())]
    return all(hasattr(part, "batch_select_indices") for part in parts)


def keep_rows(cache: "Cache", chosen: "torch.Tensor") -> None:
    """Keep the `chosen` rows of a batch in its cache, which `can_drop_rows`.

    With a device map the `keys` of its `layers` may be on several GPUs, and torch takes an index
    from the same GPU only. The cache of a decoder alone (Bart's) has no `layers`, and one device.
    """
    for part in getattr(cache, "layers", None) or (cache,):
        keys = getattr(part, "keys", None)
        part.batch_select_indices(chosen if keys is None else chosen.to(keys.device))


def kept_by(cache: "Cache") -> Kept | None:
    """Return the keys and values that full attention has kept; None for any other cache.

    They are `keys` and `values` of each DynamicLayer in `DynamicCache.layers`. A layer of any other
    class may have forgotten some, as one with a sliding window.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    layers: list[Any] = cache.layers if type(cache) is DynamicCache else []
    if any(type(layer) is not DynamicLayer for layer in layers):
        return None
    return [(layer.keys, layer.values) for layer in layers]


def cache_behind(kept: Kept) -> Any:
    """Return a cache that every row of a batch continues from, for one forward pass.

    Its layers are set by `DynamicCache.layers`; each is a DynamicLayer whose `update` writes
    nothing and returns `kept` in front of the new keys and values.
    """
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.layers = [_shared_layer()(keys, values) for keys, values in kept]
    return cache


@cache
def _shared_layer() -> Any:
    import torch
    from transformers.cache_utils import DynamicLayer

    class Shared(DynamicLayer):
        """A prefix that every row of a batch begins with: read, never written or copied."""

        def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values
            self.prefix = keys, values

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            keys, values = (one.expand(key_states.shape[0], -1, -1, -1) for one in self.prefix)
            return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)

    return Shared


def prepare_conversions() -> None:
    """Compile the thousand patterns by which transformers renames old weights; it keeps them.

    Processes that are forked later need not do so. It may fail without any effect.
    """
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")
