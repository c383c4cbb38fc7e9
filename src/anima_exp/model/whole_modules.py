"""Train modules as a whole besides an adapter: embeddings and head, or modules of any name.

PEFT keeps a copy of each, and saves the copy with the adapter. Here the copy is in fp32, because a
small update to a bf16 weight rounds to zero, and its output has the type of the base.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anima_exp.config import LoraConfig
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import is_quantized
from anima_exp.libraries.peft_internals import copies_of_whole_modules, keeps_tied
from anima_exp.model.target_modules import is_named

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def whole_modules(model: "PreTrainedModel | PeftModel", lora: LoraConfig) -> tuple[list[str], bool]:
    """Return the full names of the modules to train as a whole, and whether to keep them tied.

    A head that shares its weights with the embeddings is not among the names.

    Raises:
        ModelError: if a name matches no module, or the module cannot be trained so.
    """
    modules = dict(model.named_modules())
    wanted = {name: _named(name, modules) for name in lora.save_modules or ()}
    found = [name for names in wanted.values() for name in names]
    tables = _tables(model)
    tied = len({id(modules[name].weight) for name in tables}) < len(tables)
    if lora.train_embeddings:
        found += tables
    if tied and {*tables} & {*found}:
        if not keeps_tied(tables[0]):
            raise ModelError(
                f"{type(model).__name__} shares the weights of {' and '.join(tables)}, which PEFT "
                "does not keep tied under these names. Leave out lora.train_embeddings and "
                "lora.save_modules."
            )
        found = [one for one in found if one not in tables] + tables[:1]
    found = sorted(set(found), key=list(modules).index)
    for name in found:
        _check(name, modules[name])
    return found, tied and tables[0] in found


def _tables(model: "PreTrainedModel | PeftModel") -> list[str]:
    """Return the names of the embeddings and the head, in this order."""
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name for one in tables for name, module in model.named_modules() if module is one]


def _named(name: str, modules: dict[str, nn.Module]) -> list[str]:
    found = [one for one in modules if one and is_named(one, name)]
    if not found:
        tops = [one for one in modules if one.count(".") <= 1 and one]
        raise ModelError(
            f"lora.save_modules: {name} matches no module. Some of the modules are "
            f"{', '.join(tops[:8])}."
        )
    return found


def _check(name: str, module: nn.Module) -> None:
    parameters = list(module.parameters())
    if not parameters or isinstance(module, nn.ModuleList | nn.ModuleDict):
        raise ModelError(
            f"lora.save_modules: {name} has no weights of its own to train. Name a module in it."
        )
    if any(map(is_quantized, parameters)):
        raise ModelError(
            f"lora.save_modules: {name} is quantized, so it cannot be trained as a whole. Give it "
            "an adapter with lora.modules, or use quant=none."
        )


def train_in_fp32(model: "PeftModel", trainable: bool = True) -> None:
    """Convert the copies of whole modules to fp32; what they return keeps the type of the base."""
    for original, copy in copies_of_whole_modules(model):
        dtype = next(original.parameters()).dtype
        for parameter in copy.parameters():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(trainable)
        if dtype is not torch.float32:
            copy.register_forward_hook(partial(_in_type, dtype))


def _in_type(dtype: torch.dtype, module: nn.Module, inputs: object, output: object) -> object:
    if isinstance(output, Tensor) and output.dtype is torch.float32:
        return output.to(dtype)
    return output
