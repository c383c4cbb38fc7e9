"""Set A and B of a new adapter from the base's weights: PiSSA, OLoRA and LoftQ.

The base itself is not changed (lora_start.py). PEFT's own functions change it, need a GPU for
LoftQ, and let the scale of the update out of LoftQ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anima_exp.config import LoraConfig, LoraInit, ModelConfig
from anima_exp.errors import ModelError
from anima_exp.libraries.peft_internals import (
    base_layer,
    lora_layers,
    name_in_base,
    plain_adapter,
    update_of,
)
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.model.dequantized_weights import dequantized_weight
from anima_exp.model.device_map import meta_model
from anima_exp.model.lora_start import hold_start
from anima_exp.model.stored_tensors import Tensors, file, table, weights_of
from anima_exp.model.stored_types import dequantized_format

if TYPE_CHECKING:
    from peft import PeftModel

# A matrix up to this size is decomposed in full. Of a larger one, products with random vectors give
# the few largest singular vectors in much less time.
_FULL_SIZE = 1024
_MORE_VECTORS, _ITERATIONS = 32, 16


@torch.no_grad()
def initialize(model: "PeftModel", lora: LoraConfig, base: ModelConfig) -> None:
    """Set A and B of every layer as `lora.init` says; Kaiming and EVA are done elsewhere.

    Raises:
        ModelError: if a rank is larger than its layer, or the base's files cannot be read.
    """
    if lora.init not in (LoraInit.pissa, LoraInit.olora, LoraInit.loftq):
        return
    original = _Original(model, base) if lora.init is LoraInit.loftq else None
    for name, layer in lora_layers(model):
        adapter = plain_adapter(layer)
        assert adapter is not None, name
        a, b, scaling = update_of(layer, adapter)
        weight = dequantized_weight(base_layer(layer), torch.float32)
        rank = len(a)
        if rank > min(weight.shape):
            raise ModelError(
                f"lora.init={lora.init.value} finds at most {min(weight.shape)} vectors in "
                f"{name_in_base(name)}, but its rank is {rank}. Lower lora.rank, or set a smaller "
                "one for this layer in lora.rank_pattern."
            )
        if lora.init is LoraInit.olora:
            orthogonal, rest = torch.linalg.qr(weight)
            found_b, found_a = orthogonal[:, :rank], rest[:rank]
        else:
            matrix = weight if original is None else original.error_of(name, weight)
            found_b, found_a = _largest(matrix / scaling, rank)
        a.copy_(found_a)
        b.copy_(found_b)
        if lora.init is not LoraInit.loftq:
            hold_start(layer, adapter)


def _largest(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return B [out, rank] and A [rank, in], whose product is the best of this rank."""
    size = min(matrix.shape)
    if size <= _FULL_SIZE or 2 * (rank + _MORE_VECTORS) > size:
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        v = v.T
    else:
        with _same_random_numbers(matrix.device):
            u, s, v = torch.svd_lowrank(matrix, q=rank + _MORE_VECTORS, niter=_ITERATIONS)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, (v[:, :rank] * root).T


@contextmanager
def _same_random_numbers(where: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([where] if where.type == "cuda" else []):
        torch.manual_seed(0)
        yield


class _Original:
    """The weights of a base's files, before quantization."""

    def __init__(self, model: "PeftModel", base: ModelConfig) -> None:
        config = file(base, "config.json")
        if stored := config and dequantized_format(table(base, config)):
            raise ModelError(
                f"lora.init=loftq compares with 16-bit weights, but model.source={base.source} is "
                f"stored in {stored}. Use another lora.init, or the 16-bit model that it was made "
                "from."
            )
        self._base = base
        self._tensors = Tensors(weights_of(base))
        self._prefix = f"{model.get_base_model().base_model_prefix}."
        # GPT-2's layers have become linear ones in 4 bits; their files keep [in, out].
        modules = meta_model(base).named_modules()
        self._turned = {name for name, one in modules if is_conv1d(one)}

    def error_of(self, name: str, quantized: Tensor) -> Tensor:
        """Return what quantization took away from a layer: W - Q(W)."""
        called = f"{name_in_base(name)}.weight"
        for stored in (called, called.removeprefix(self._prefix)):
            if stored in self._tensors.entries:
                weight = self._tensors.read(stored).to(quantized)
                weight = weight.T if name_in_base(name) in self._turned else weight
                if weight.shape == quantized.shape:
                    return weight - quantized
        raise ModelError(
            f"lora.init=loftq: the files of model.source={self._base.source} hold no {called} of "
            "this shape, because transformers rearranges this architecture's weights while it "
            "loads them. Use another lora.init."
        )
