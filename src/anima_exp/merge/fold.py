"""A weight and its update -> the merged weight, in fp32."""

import torch
from torch import Tensor

from anima_exp.config import QuantConfig
from anima_exp.libraries.bitsandbytes_internals import rounded_to_4_bits


def folded(
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    *,
    magnitude: Tensor | None = None,
    transposed: bool = False,
) -> Tensor:
    """W + scale * B @ A; with a `magnitude` every output's row is then given that length.

    Args:
        weight: [out, in], or [in, out] if `transposed`, as is what returns.
        a: [rank, in].
        b: [out, rank].
        magnitude: [out], DoRA's.
    """
    full = weight.float().T if transposed else weight.float()
    full = torch.addmm(full, b.float(), a.float(), alpha=scale)  # one new matrix, not two
    if magnitude is not None:
        full *= (magnitude.float() / torch.linalg.vector_norm(full, dim=1))[:, None]
    return full.T if transposed else full


def dequantized(
    weight: Tensor,
    quant: QuantConfig,
    *,
    dtype: torch.dtype,
    where: torch.device,
    transposed: bool = False,
) -> Tensor:
    """What a run computes with in place of `weight`: rounded to 4 bits, and back in `dtype`.

    Args:
        dtype: the type that the run loads its base in before it rounds.
        where: the run's kind of device, for each quantises with a kernel of its own.
    """
    full = weight.T if transposed else weight
    back = rounded_to_4_bits(
        full.to(dtype).contiguous(), quant.type.value, where, double_quant=quant.double_quant
    )
    return back.T if transposed else back
