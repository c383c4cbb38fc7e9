"""Build the device map that places each decoder block on its GPU."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.model.base_config import read_config
from anima_exp.model.tokenizer import load_error_message, resolve_source

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


_BLOCK = re.compile(r"^(?:.*?\.)?\d+(?=\.)")


@dataclass(frozen=True)
class Modules:
    """The full names of the modules that hold weights."""

    before: list[str]  # embeddings, and modules without weights such as rotary positions
    blocks: list[str]  # the decoder blocks, each with its submodules
    behind: list[str]  # the last norm, and the head unless it is tied to the embeddings

    def on(self, gpus: Sequence[int]) -> dict[str, int]:
        """Return the device map: module -> GPU.

        Args:
            gpus: the GPU of each block. Modules before and after the blocks go to the GPU of the
                first and the last block.
        """
        places = dict(zip(self.blocks, gpus, strict=True))
        first, last = dict.fromkeys(self.before, gpus[0]), dict.fromkeys(self.behind, gpus[-1])
        return first | places | last  # accelerate's main device is that of the first entry


def meta_model(model: ModelConfig) -> Any:
    """Build the causal language model on torch's meta device, with names and shapes only.

    Raises:
        ModelError: if its config.json is missing or cannot be read.
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


def modules_of(model: "PreTrainedModel | PeftModel") -> Modules:
    """Return the names of a model's modules, in the model's order."""
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
            # A weight whose module also holds the blocks is listed by its own name.
            holds_blocks = any(block.startswith(f"{holder}.") or not holder for block in blocks)
            early = places[holder] < first_block or _is_tied_head(model, modules[holder])
            (before if early else behind)[name if holds_blocks else holder] = None
    for name, _ in model.named_buffers():
        holder = name.rpartition(".")[0]
        if not _BLOCK.match(name) and holder not in behind:
            before[holder] = None
    return Modules(list(before), blocks, list(behind))


def _is_tied_head(model: "PreTrainedModel | PeftModel", module: "nn.Module") -> bool:
    """Return whether a module is the head and shares the embeddings' weights."""
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    return bool(tied) and module is model.get_output_embeddings()
