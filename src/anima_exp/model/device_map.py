"""A model's modules, and a card for each decoder block -> the device map that loads it so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.model.base_config import read_config
from anima_exp.model.tokenizer import load_error_message, resolve_source

_BLOCK = re.compile(r"^(?:.*?\.)?\d+(?=\.)")


@dataclass(frozen=True)
class Modules:
    """The full names of the modules that hold weights."""

    before: list[str]  # embeddings, and what only computes, such as positions
    blocks: list[str]  # the decoder's, each with all that is in it
    behind: list[str]  # the last norm, and the head unless it is the embeddings themselves

    def on(self, cards: Sequence[int]) -> dict[str, int]:
        """The device map, with a card for each block; what is around them lies beside them."""
        places = dict(zip(self.blocks, cards, strict=True))
        first, last = dict.fromkeys(self.before, cards[0]), dict.fromkeys(self.behind, cards[-1])
        return first | places | last  # accelerate's main device is that of the first entry


def meta_model(model: ModelConfig) -> Any:
    """The causal language model on torch's meta device, where it has names and sizes only.

    Raises:
        ModelError: its config.json cannot be found or read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    source = resolve_source(model.source)
    config = read_config(model)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config, trust_remote_code=model.trust_remote_code
            )
    except Exception as error:  # each class of models has errors of its own
        raise ModelError(load_error_message("model.source", source, error, what="model")) from error


def modules_of(model: Any) -> Modules:
    """In the model's order."""
    modules = dict(model.named_modules())
    places = {name: place for place, name in enumerate(modules)}
    weights = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    blocks = list(dict.fromkeys(found[0] for name in weights if (found := _BLOCK.match(name))))
    first_block = min((places[name] for name in blocks), default=0)
    before: dict[str, None] = {}
    behind: dict[str, None] = {}
    for name in weights:
        if not _BLOCK.match(name):
            holder = name.rpartition(".")[0]
            # A weight beside the list of blocks goes by its own name, for its holder has them all.
            beside = any(block.startswith(f"{holder}.") or not holder for block in blocks)
            early = places[holder] < first_block or _is_tied_head(model, modules[holder])
            (before if early else behind)[name if beside else holder] = None
    for name, _ in model.named_buffers():
        holder = name.rpartition(".")[0]
        if not _BLOCK.match(name) and holder not in behind:
            before[holder] = None
    return Modules(list(before), blocks, list(behind))


def _is_tied_head(model: Any, module: Any) -> bool:
    """Whether it is the head, and its weights are the embeddings'."""
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    return bool(tied) and module is model.get_output_embeddings()
