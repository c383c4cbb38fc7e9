"""Read a base model's config, and check where it comes from and how it is stored.

Importing this module imports no torch, so a missing folder or a misspelt id is refused at once.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import Attention, ModelConfig
from anima_exp.errors import ModelError
from anima_exp.libraries import hub
from anima_exp.libraries.transformers_internals import family_takes_sdpa
from anima_exp.model.tokenizer import load_error_message, resolve_source
from anima_exp.system import json_files
from anima_exp.system.paths import expanded

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


# The number of trained positions, or the longest row of pre-training, by each family's own name.
_CONTEXT_NAMES = (
    "max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length",
    "max_seq_length", "context_length", "n_ctx",
)  # fmt: skip


_GENERATION = "generation_config.json"


def read_config(model: ModelConfig) -> Any:
    """Return transformers' config of `model.source`.

    Raises:
        ModelError: if there is no config.json, or transformers does not know what it describes.
    """
    from transformers import AutoConfig

    source = resolve_source(model.source)
    try:
        with hub.no_retries(source):
            return AutoConfig.from_pretrained(
                source, revision=model.revision, trust_remote_code=model.trust_remote_code
            )
    except Exception as error:  # a config.json may hold anything, and each class checks its own
        raise ModelError(load_error_message("model.source", source, error, what="model")) from error


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


def attention_of(config: "PreTrainedConfig", wanted: Attention) -> Attention:
    """Return `wanted`, or eager attention for a family that torch's own attention cannot compute.

    `sdpa` is the default of model.attention, so a family without it (Gemma 2, GPT-OSS, BLOOM, MPT)
    gets the one that it has. Any other choice is the user's.

    Raises:
        ModelError: if `wanted` needs a package that is not installed.
    """
    if wanted is Attention.flash_attention_2 and find_spec("flash_attn") is None:
        # transformers would say so, or, with the package `kernels`, fetch a kernel from the hub.
        raise ModelError(
            "model.attention=flash_attention_2 needs the package flash-attn, which is not "
            "installed. Install it, or use model.attention=sdpa."
        )
    if wanted is not Attention.sdpa:
        return wanted
    if getattr(config.get_text_config(), "attn_logit_softcapping", None):
        return Attention.eager  # transformers 5.17 computes Gemma 2 by sdpa, without its soft cap
    # It is None for custom code. transformers checks such a class itself.
    return Attention.eager if family_takes_sdpa(config) is False else wanted


def check_folders(model: ModelConfig) -> None:
    """Raise ModelError if `model.source` or `model.tokenizer` names a folder that does not exist.

    A name that can be a hub id is left to `check_hub`.
    """
    for key, place in _places(model):
        if _names_folder(place) and not expanded(place, key).is_dir():
            here = "" if expanded(place, key).is_absolute() else f" in {Path.cwd()}"
            raise ModelError(f"{key}={place}: there is no such folder{here}.")


def check_hub(model: ModelConfig) -> None:
    """Raise ModelError if the hub has no such base or tokenizer, or cannot be reached.

    An earlier download is enough.
    """
    for key, place in _places(model):
        if _names_folder(place) or expanded(place, key).is_dir():
            continue
        own = key == "model.source"
        name = "config.json" if own else "tokenizer_config.json"
        revision = model.revision if own else None  # which belongs to the base
        found = hub.file(place, name, where=f"{key}={place}", revision=revision)
        if own and found is None:
            raise ModelError(
                f"{key}={place} has no config.json on the hub, so transformers cannot load it as "
                "a model. Check the id."
            )


def _places(model: ModelConfig) -> list[tuple[str, str]]:
    pairs = (("model.source", model.source), ("model.tokenizer", model.tokenizer))
    return [(key, place) for key, place in pairs if place and place != "tiny"]


def _names_folder(place: str) -> bool:
    return place.startswith((".", "/", "~")) or place.count("/") > 1 or Path(place).is_absolute()


def generation_stops(model: ModelConfig) -> list[int]:
    """Return the ids at which the base model's generation stops, by its generation_config.json.

    Without the file there are none. The tokenizer's EOS is not in the list unless the file has it.

    Raises:
        ModelError: if the file cannot be read.
    """
    source = resolve_source(model.source)
    folder = Path(source)
    file: Path | None = folder / _GENERATION
    if not folder.is_dir():
        where = f"model.source={source}"
        file = hub.file(source, _GENERATION, where=where, revision=model.revision)
    if file is None or not file.is_file():
        return []
    try:
        named = json_files.read_table(file).get("eos_token_id")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"model.source={source}: {_GENERATION} cannot be read: {reason}. Replace it."
        ) from error
    several = named if isinstance(named, list) else [named]
    return [one for one in several if isinstance(one, int)]
