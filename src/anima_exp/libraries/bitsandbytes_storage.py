"""Find how bitsandbytes stores a parameter, and how many bytes its constants take.

It belongs to bitsandbytes_internals.py and keeps its rules.
tests/contracts/test_bitsandbytes_storage.py checks it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def number_type(parameter: "torch.Tensor") -> str:
    """Return how a parameter is stored: nf4, fp4, int8, fp8, or its own type (bf16, fp32).

    It uses the names of bitsandbytes' classes, and `Params4bit.quant_type`.
    """
    if type(parameter).__name__ == "Params4bit":
        return str(getattr(parameter, "quant_type", "4-bit"))
    name = str(parameter.dtype).removeprefix("torch.")
    if name.startswith("float8"):
        return "fp8"
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(name, name)


def constants_bytes(parameter: "torch.Tensor") -> int:
    """Return the bytes of the constants of a quantized parameter, without lookup tables.

    They are `absmax`, `offset` and `state2.absmax` of a QuantState, and `SCB` in 8 bits.
    """
    scales = getattr(parameter, "SCB", None)
    if scales is not None:
        return int(scales.nbytes)
    state = getattr(parameter, "quant_state", None)
    if state is None:
        return 0
    held = [state.absmax]
    if state.nested:
        held += [state.offset, state.state2.absmax]
    return sum(int(one.nbytes) for one in held)
