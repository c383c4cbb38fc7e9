"""Apply dropout with a counter-based mask.

Each bit of the mask is a hash of seed, step, row, position, column and layer. No mask is drawn from
a generator or kept for the backward pass, which computes it again. With torch's dropout a mask
depends on what else is computed and in which order. Here a run has the same loss curve with any
token budget, because the mask does not depend on how a batch is split into micro-batches.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from anima_exp.libraries.peft_internals import is_adapter_dropout
from anima_exp.libraries.torch_internals import is_dropout
from anima_exp.libraries.triton_internals import triton_problem
from anima_exp.model.constants import COLUMN, FIRST, RESOLUTION, SECOND

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


KEYS = "dropout_keys"  # the attribute of a base model with the DropoutKeys of its LoRA layers
_AS_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a number


class DropoutKeys:
    """The dropout keys of the current micro-batch's tokens, shared by all layers of a model."""

    def __init__(self) -> None:
        self.now: Tensor | None = None

    def of(self, tokens: int, device: torch.device) -> Tensor:
        """Return the keys of `tokens` tokens, [T] int32.

        They are random if no keys are set, or if their number differs, as in an expert.
        """
        if self.now is not None and len(self.now) == tokens:
            return self.now.to(device)
        return torch.randint(-(2**31), 2**31 - 1, (tokens,), dtype=torch.int32, device=device)


def own_dropout(model: "PreTrainedModel | PeftModel") -> float:
    """Return the highest probability of the base's own dropouts; LoRA's is not one of them."""
    return max((getattr(holder, name) for holder, name in _own(model)), default=0.0)


def switch_off_own_dropout(model: "PreTrainedModel | PeftModel") -> None:
    """Set the base's own dropouts to 0, those of layers (OPT's layerdrop) included."""
    for holder, name in _own(model):
        setattr(holder, name, 0.0)


def _own(model: "PreTrainedModel | PeftModel") -> Iterator[tuple[Any, str]]:
    """Yield each module with the name of an attribute that is a dropout probability.

    Families keep it in a dropout module, or in a number that they pass to torch's function.
    """
    for path, module in model.named_modules():
        if is_adapter_dropout(path):
            continue
        if is_dropout(module):
            yield module, "p"
            continue
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float) and value > 0:
                yield module, name


def token_keys(
    seed: int, step: int, rows: Sequence[int], lengths: Sequence[int], device: torch.device
) -> Tensor:
    """Return the keys of all tokens of some rows of a batch, [sum of lengths] int32.

    Args:
        rows: the numbers of the rows in the optimizer batch of `step`.
        lengths: tokens of each row.
    """
    begin = _mix(_mix(np.uint32(seed & 0xFFFFFFFF)) ^ np.uint32(step & 0xFFFFFFFF))
    keys = [
        _mix(_mix(begin ^ np.uint32(row)) ^ np.arange(length, dtype=np.uint32))
        for row, length in zip(rows, lengths, strict=True)
    ]
    return torch.from_numpy(np.concatenate(keys).view(np.int32)).to(device, non_blocking=True)


def layer_key(name: str) -> int:
    """Return a number for the layer called `name`, the same in every process."""
    return int(_mix(np.uint32(zlib.crc32(name.encode()))).view(np.int32))


class Mask:
    """The dropout mask of one layer for x [T, H], which drops about `share` of the numbers.

    Kept numbers are not scaled by 1 / (1 - share). The narrower product after it does that.
    """

    def __init__(self, keys: Tensor, layer: int, share: float) -> None:
        self._keys, self._layer = keys, layer
        self._threshold = round(share * RESOLUTION)

    def of(self, x: Tensor, *, also: Tensor | None = None) -> Tensor:
        """Return a copy of `x` with zeros. `also`, a tensor like x, gets the zeros in place."""
        if drop := _kernel(x):
            x = x.contiguous()  # Mamba, for example, passes a slice or a transposed tensor
            return drop(x, self._keys, self._layer, self._threshold, also)
        bits = _bits(x, self._keys, self._layer, self._threshold)
        if also is not None:
            _as_integers(also).bitwise_and_(bits)
        return (_as_integers(x) & bits).view(x.dtype)


def _kernel(x: Tensor) -> Callable[..., Tensor] | None:
    """Return dropout_kernel.drop if it can run: on a GPU where Triton can compile."""
    if not x.is_cuda or triton_problem():
        return None
    from anima_exp.model.dropout_kernel import drop

    return drop


def kept_share(share: float) -> float:
    """Return the fraction that is kept, after `share` is rounded to 1 / RESOLUTION."""
    return 1 - round(share * RESOLUTION) / RESOLUTION


def _as_integers(x: Tensor) -> Tensor:
    return x.view(_AS_INTEGERS[x.element_size()])


def _bits(x: Tensor, keys: Tensor, layer: int, threshold: int) -> Tensor:
    """Return integers [T, H] as wide as x's numbers, with all bits set where a number is kept.

    model/dropout_kernel.py computes the same mask on a GPU.
    """
    # Two numbers share one hash of 32 bits.
    columns = torch.arange((x.shape[1] + 1) // 2, dtype=torch.int32, device=x.device)
    # Multiply, fold the high half down, multiply. The keys are well mixed already, and every
    # further pass over [T, H] would cost as much as a narrow product.
    bits = keys[:, None] ^ (columns * COLUMN + layer)
    bits *= FIRST
    bits ^= bits >> 16
    bits *= SECOND
    # There is no comparison, because booleans are slow on a CPU. The sign of a difference is
    # extended to all bits of an integer as wide as x's numbers.
    lanes = bits.view(torch.int16)[:, : x.shape[1]]
    dropping = ((lanes >> 1) - (threshold - RESOLUTION // 2)) >> 15
    return dropping.to(_AS_INTEGERS[x.element_size()]).bitwise_not()


def _mix(number: Any) -> Any:
    """Hash one or many of numpy's uint32."""
    with np.errstate(over="ignore"):
        number = number ^ (number >> np.uint32(16))
        number = number * np.uint32(0x7FEB352D)
        number = number ^ (number >> np.uint32(15))
        number = number * np.uint32(0x846CA68B)
        return number ^ (number >> np.uint32(16))
