"""Read a base's config through transformers, and find in it what families call differently."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from anima_exp import hub
from anima_exp.config import Attention, ModelConfig
from anima_exp.errors import ModelError
from anima_exp.libraries.transformers_internals import family_takes_sdpa

# Learnt positions, or the longest row that the family was trained on, by the families' own names.
_CONTEXT_NAMES = (
    "max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length",
    "max_seq_length", "context_length", "n_ctx",
)  # fmt: skip


def read_config(model: ModelConfig) -> Any:
    """Return transformers' config of `model.source`.

    Raises:
        ModelError: there is no config.json, or transformers does not know what it describes.
    """
    from transformers import AutoConfig

    from anima_exp.model.tokenizer import cannot_load, location

    source = location(model.source)
    try:
        with hub.no_retries(source):
            return AutoConfig.from_pretrained(
                source, revision=model.revision, trust_remote_code=model.trust_remote_code
            )
    except Exception as error:  # a config.json may hold anything, and each class checks its own
        raise ModelError(cannot_load("model.source", source, error, what="model")) from error


def context_length(config: Any) -> int | None:
    """Return how many tokens a model reads at most, prompt and answer together; None = unknown.

    Args:
        config: transformers' config of any model, or the content of a config.json.
    """
    if isinstance(config, Mapping):
        values = (config.get(name) for name in _CONTEXT_NAMES)
    else:
        text = config.get_text_config()
        values = (getattr(text, name, None) for name in _CONTEXT_NAMES)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def attention_of(config: Any, wanted: Attention) -> Attention:
    """Return `wanted`, or eager attention for a family that torch's own attention cannot compute.

    `sdpa` is the default of model.attention, so a family without it (Gemma 2, GPT-OSS, BLOOM, MPT)
    gets the one that it has. Any other choice is the user's.

    Raises:
        ModelError: `wanted` needs a package that is not installed.
    """
    if wanted is Attention.flash_attention_2 and find_spec("flash_attn") is None:
        # transformers would say so, or, with the package `kernels`, fetch a kernel from the hub.
        raise ModelError(
            "model.attention=flash_attention_2 needs the package flash-attn, which is not "
            "installed. Install it, or use model.attention=sdpa."
        )
    if wanted is not Attention.sdpa:
        return wanted
    # None for code of the model's own, whose class transformers asks itself.
    return Attention.eager if family_takes_sdpa(config) is False else wanted
