"""Store a stack of matrices, such as a layer's experts, as one 4-bit weight of bitsandbytes.

Its documentation promises this for linear layers only. It was read in bitsandbytes 0.49 and 0.50;
tests/contracts/test_bitsandbytes_stacks.py checks every function. The stored values and constants
are those that bitsandbytes would compute for the whole stack at once.
"""

from typing import TYPE_CHECKING, Any

from anima_exp.libraries.bitsandbytes_internals import WEIGHTS_A_CONSTANT, import_bitsandbytes

if TYPE_CHECKING:
    import torch

# bitsandbytes' kernels count elements in 32 bits.
_MOST_AT_ONCE = 2**31 - 1
_VALUES = "packed"


def quantized_stack(weight: "torch.Tensor", kind: str, *, double_quant: bool) -> Any:
    """Return a stack [n, ...] as a Params4bit of the same shape, on the same device.

    Matrices are quantized one after another, because a CPU needs 12 bytes for each weight that it
    quantizes. Constants are compressed for the whole stack, as `quantize_4bit` does it: their mean
    is subtracted, and `quantize_blockwise` rounds them in blocks of 256.

    Raises:
        ValueError: if the stack is too large for the kernels and cannot be divided.
    """
    import_bitsandbytes()
    import torch
    from bitsandbytes.functional import quantize_4bit, quantize_blockwise
    from bitsandbytes.nn.modules import Params4bit

    divides = weight[0].numel() % WEIGHTS_A_CONSTANT == 0
    if not divides and weight.numel() > _MOST_AT_ONCE:
        raise ValueError(f"{weight.numel()} weights are too many for one quantization")
    parts = [quantize_4bit(one.contiguous(), quant_type=kind) for one in _divided(weight, divides)]
    values = torch.cat([one for one, _ in parts])
    state: Any = parts[0][1]
    state.shape, state.absmax = weight.shape, torch.cat([one.absmax for _, one in parts])
    if double_quant:
        state.offset = state.absmax.mean()
        state.absmax, state.state2 = quantize_blockwise(state.absmax - state.offset, blocksize=256)
        state.nested = True
    return Params4bit(
        values,
        requires_grad=False,
        quant_state=state,
        compress_statistics=double_quant,
        quant_type=kind,
        bnb_quantized=True,
    )


def _divided(weight: "torch.Tensor", divides: bool) -> Any:
    return weight if divides else [weight]


class Stack:
    """A 4-bit stack whose constants are uncompressed, to dequantize all of it or some matrices."""

    def __init__(self, parameter: "torch.Tensor") -> None:
        self._values, self._state = parameter.data, _state(parameter)
        self.shape: torch.Size = self._state.shape
        self._constants: torch.Tensor | None = None

    def all(self, dtype: "torch.dtype") -> "torch.Tensor":
        """Return the whole stack."""
        from bitsandbytes.functional import dequantize_4bit

        if self.shape.numel() <= _MOST_AT_ONCE:
            result: torch.Tensor = dequantize_4bit(self._values, self._state)
            return result.view(self.shape).to(dtype)
        whole = self._values.new_empty(self.shape, dtype=dtype)
        for number, matrix in enumerate(whole):
            matrix.copy_(self.one(number, dtype))
        return whole

    @property
    def divides(self) -> bool:
        """Whether `one` works: each matrix has constants of its own."""
        return self.shape[1:].numel() % WEIGHTS_A_CONSTANT == 0

    def one(self, number: int, dtype: "torch.dtype") -> "torch.Tensor":
        """Return one matrix of the stack."""
        from bitsandbytes.functional import QuantState, dequantize_4bit, dequantize_blockwise

        if self._constants is None:
            self._constants = self._state.absmax
            if self._state.nested:
                whole = dequantize_blockwise(self._state.absmax, self._state.state2)
                self._constants = whole + self._state.offset
        each = self.shape[1:].numel()
        constants = slice(
            number * each // WEIGHTS_A_CONSTANT, (number + 1) * each // WEIGHTS_A_CONSTANT
        )
        state = QuantState(
            absmax=self._constants[constants],
            shape=self.shape[1:],
            dtype=self._state.dtype,
            blocksize=self._state.blocksize,
            code=self._state.code,
            quant_type=self._state.quant_type,
        )
        values = self._values.view(-1)[number * each // 2 : (number + 1) * each // 2, None]
        result: torch.Tensor = dequantize_4bit(values, state)
        return result.to(dtype)


def _state(parameter: "torch.Tensor") -> Any:
    state: Any = getattr(parameter, "quant_state")  # noqa: B009 - mypy
    return state


def shape_of(parameter: "torch.Tensor") -> "torch.Size":
    """Return the shape of the weights that a 4-bit parameter stands for."""
    shape: torch.Size = _state(parameter).shape
    return shape


def dimensions(parameter: "torch.Tensor") -> int:
    """Return the dimensions of a weight in any storage type: 3 for a stack."""
    state = getattr(parameter, "quant_state", None)
    return len(shape_of(parameter)) if state is not None else parameter.ndim


def parts_of(parameter: "torch.Tensor") -> "dict[str, torch.Tensor]":
    """Return the tensors of a 4-bit weight, to write them to a file (`QuantState.as_dict`)."""
    parts: dict[str, Any] = _state(parameter).as_dict(packed=True)
    return {_VALUES: parameter.data, **parts}


def of_parts(parts: "dict[str, torch.Tensor]", where: "torch.device") -> Any:
    """Return the 4-bit weight of `parts_of`."""
    import_bitsandbytes()
    from bitsandbytes.nn.modules import Params4bit

    constants = {name: one for name, one in parts.items() if name != _VALUES}
    return Params4bit.from_prequantized(parts[_VALUES], constants, device=where)
