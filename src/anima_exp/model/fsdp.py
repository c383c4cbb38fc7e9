"""Shard a frozen base model over N processes with torch's FSDP2.

Each process keeps an N-th of every decoder block. A block's weights are gathered for its forward
pass, freed, and gathered again for its backward pass. So all ranks must run the same passes in the
same order; a rank with fewer passes would leave the others waiting. Trained weights, embeddings,
head and quantization constants stay whole in every process. This has not run on a GPU yet.
"""

from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import hold_constants
from anima_exp.libraries.peft_internals import base_of
from anima_exp.libraries.torch_internals import integers_can_be_sharded
from anima_exp.model.base import device
from anima_exp.model.expert_weights import quantized_experts
from anima_exp.model.forward import decoder_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def shard_base(model: Any, group: Any = None) -> int:
    """Keep this process's part of every frozen weight in `model`'s blocks, and free the rest.

    Call it with the adapter attached and before the first training pass. A model on the CPU is
    moved to this process's GPU block by block, so it never needs to fit there as a whole. Nothing
    is sent, so processes may load and split one after another if memory holds one whole base only.

    Args:
        group: the process group, all of whose ranks call this; None means all processes.

    Returns:
        The bytes of frozen weights that stay here, quantization constants not counted.

    Raises:
        ModelError: if there is one process, or nothing to split.
    """
    from torch import distributed
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    if not distributed.is_initialized() or distributed.get_world_size(group) < 2:
        raise ModelError(
            "trainer.fsdp=true splits the base model over several processes, but this run has one. "
            "Set trainer.num_gpus to the number of GPUs, or leave trainer.fsdp at null."
        )
    decoder, where = decoder_of(base_of(model)), device()
    blocks = _blocks(decoder)
    _check(model, blocks)
    processes: Any = group or distributed.group.WORLD
    mesh = DeviceMesh.from_group(processes, where.type)
    hold_constants(model, where)
    learning = {parameter for parameter in model.parameters() if parameter.requires_grad}
    with integers_can_be_sharded():
        for block in blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=learning)
        # The root has no weights of its own. It knows the order of blocks, to prefetch the next.
        fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.parameters()))
    with torch.no_grad():
        for tensor in chain(model.parameters(), model.buffers()):
            if tensor.device.type != where.type:
                tensor.data = tensor.to(where)
    return frozen_bytes(model)


def frozen_bytes(model: nn.Module) -> int:
    """Return the bytes of frozen weights in this process."""
    return sum(_here(one).nbytes for one in model.parameters() if not one.requires_grad)


def _here(parameter: Tensor) -> Tensor:
    local: Tensor = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local


def _blocks(decoder: nn.Module) -> list[nn.Module]:
    """Return the numbered modules that are in no other one: an expert belongs to its block."""
    found = []
    for name, module in decoder.named_modules():
        *outer, own = name.split(".")
        if own.isdigit() and not any(part.isdigit() for part in outer):
            found.append(module)
    return found


def _check(model: "PreTrainedModel | PeftModel", blocks: list[nn.Module]) -> None:
    frozen = [one for block in blocks for one in block.parameters() if not one.requires_grad]
    if not frozen:
        raise ModelError(
            "trainer.fsdp=true splits the frozen weights of decoder blocks, but "
            f"{type(base_of(model)).__name__} has none (lora=full_finetune trains every weight). "
            "Leave trainer.fsdp at null."
        )
    if quantized_experts(model):
        raise ModelError(
            "trainer.fsdp=true cannot shard experts that are stacked in 4 bits, because a shard "
            "loses their constants. Use trainer.fsdp=false, or a base model without experts."
        )
    if any(hasattr(module, "dequantized") for module in model.modules()):
        raise ModelError(
            "quant.cache_dequantized=true keeps a full copy of the base model in every process, so "
            "trainer.fsdp=true would save no memory. Set one of them to false."
        )
