"""bitsandbytes still stores what libraries/bitsandbytes_stacks.py makes of a stack."""

import pytest
import torch

from anima_exp.libraries import bitsandbytes_stacks as stacks
from anima_exp.libraries import bitsandbytes_storage as storage

WEIGHT = torch.randn(5, 48, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_stack_quantized_in_parts_is_the_stack_quantized_at_once(kind, double, dtype):
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    weight = WEIGHT.to(dtype)
    packed, state = quantize_4bit(weight, quant_type=kind, compress_statistics=double)
    found = stacks.quantized_stack(weight, kind, double_quant=double)
    assert type(found).__name__ == "Params4bit"
    assert torch.equal(found.data, packed)
    assert torch.equal(found.quant_state.absmax, state.absmax)
    whole = dequantize_4bit(packed, state).view(weight.shape)
    stack = stacks.Stack(found)
    assert torch.equal(stack.all(dtype), whole)
    assert all(torch.equal(stack.one(number, dtype), whole[number]) for number in range(5))
    assert stacks.shape_of(found) == weight.shape
    assert storage.number_type(found) == kind
    stored = found.nbytes + storage.constants_bytes(found)
    assert stored == packed.nbytes + 240 * (1 if double else 4) + 8 * double


@pytest.mark.parametrize("double", [True, False])
def test_a_stack_read_from_its_parts_is_the_same(double):
    found = stacks.quantized_stack(WEIGHT, "nf4", double_quant=double)
    parts = stacks.parts_of(found)
    assert all(isinstance(one, torch.Tensor) for one in parts.values())
    again = stacks.of_parts(dict(parts), torch.device("cpu"))
    assert torch.equal(stacks.Stack(again).all(WEIGHT.dtype), stacks.Stack(found).all(WEIGHT.dtype))
    assert stacks.parts_of(again).keys() == parts.keys()


def test_matrices_that_share_constants_are_quantized_together():
    odd = WEIGHT[:, :6, :7]
    found = stacks.quantized_stack(odd, "nf4", double_quant=True)
    assert not stacks.Stack(found).divides
    assert (stacks.Stack(found).all(odd.dtype) - odd).abs().mean() < 0.2


def test_a_moved_or_copied_stack_keeps_its_constants():
    import copy

    found = stacks.quantized_stack(WEIGHT, "nf4", double_quant=True)
    expected = stacks.Stack(found).all(torch.float32)
    for other in (found.to("cpu"), copy.deepcopy(found)):
        assert torch.equal(stacks.Stack(other).all(torch.float32), expected)
