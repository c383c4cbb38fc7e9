"""The gradient of a frozen layer's input, however the layer stores its weight."""

import copy

import bitsandbytes
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from anima_exp.libraries.bitsandbytes_internals import bitsandbytes_weight, set_compute_type
from anima_exp.model.dequantized_weights import (
    add_input_gradient,
    dequantized_weight,
    keep_dequantized,
)

INPUTS, OUTPUTS, TOKENS = 192, 320, 40
CPU = torch.device("cpu")


def weight():
    """Rows of very different size, as LLaMA's outliers make them."""
    numbers = torch.Generator().manual_seed(0)
    size = torch.rand(OUTPUTS, 1, generator=numbers).mul(6).sub(7).exp()
    return torch.randn(OUTPUTS, INPUTS, generator=numbers) * size


def in_8_bits():
    layer = bitsandbytes.nn.Linear8bitLt(INPUTS, OUTPUTS, bias=False, has_fp16_weights=False)
    layer.weight.data = weight()
    return layer.to(CPU)


def in_4_bits():
    layer = bitsandbytes.nn.Linear4bit(
        INPUTS, OUTPUTS, bias=False, compute_dtype=torch.float32, quant_type="nf4"
    )
    layer.weight.data = weight()
    return layer.to(CPU)


def kept():
    layer = in_4_bits()
    assert keep_dequantized(layer) > 0
    return layer


def plain():
    layer = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
    layer.weight.data = weight()
    return layer


def other_way_around():
    layer = Conv1D(OUTPUTS, INPUTS)
    layer.weight.data = weight().T.contiguous()
    return layer


def gradients(dtype):
    numbers = torch.Generator().manual_seed(1)
    shapes = ((TOKENS, INPUTS), (TOKENS, OUTPUTS))
    return [torch.randn(*shape, generator=numbers).to(dtype) for shape in shapes]


def apart(found, truth):
    return float((found.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("make", [in_4_bits, kept, plain, other_way_around])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_no_integer_is_multiplied_as_it_is(make, dtype):
    layer = make()
    set_compute_type(layer, dtype)
    d_x, d_out = gradients(dtype)
    matrix = dequantized_weight(layer, dtype)
    assert matrix.shape == (OUTPUTS, INPUTS)
    expected = d_x.clone().addmm_(d_out, matrix)
    assert torch.equal(add_input_gradient(None, d_out, layer), d_out @ matrix)
    assert add_input_gradient(d_x, d_out, layer) is d_x
    assert torch.equal(d_x, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_integers_give_no_larger_error_than_their_weights_in_numbers(dtype, scale):
    layer = in_8_bits()
    d_x, d_out = gradients(dtype)
    d_x, d_out = d_x * scale, d_out * scale
    before = d_out.clone()
    integers, maxima = layer.weight.CB, layer.weight.SCB
    exact = integers.double() * (maxima.double() / 127)[:, None]
    truth = d_x.double() + d_out.double() @ exact
    by_numbers = d_x.clone().addmm_(d_out, bitsandbytes_weight(layer).to(dtype))
    product = add_input_gradient(None, d_out, layer)
    assert product.dtype is dtype
    found = add_input_gradient(d_x, d_out, layer)
    assert found is d_x and torch.equal(d_out, before)
    limit = {torch.float32: 1e-6, torch.bfloat16: 5e-3, torch.float16: 6e-4}[dtype]
    assert apart(found, truth) < limit
    assert apart(found, truth) < 1.1 * apart(by_numbers, truth)
    assert apart(product, d_out.double() @ exact) < limit


def test_no_matrix_in_fp32_is_made_of_integers():
    """A layer of 7B has 45 million weights, and each pass would move 11 bytes for every one."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            self.size = max(self.size, found.nbytes if isinstance(found, torch.Tensor) else 0)
            return found

    layer, (d_x, d_out) = in_8_bits(), gradients(torch.bfloat16)
    with Largest() as largest:
        add_input_gradient(d_x, d_out, layer)
    assert largest.size == 2 * INPUTS * OUTPUTS


def test_a_layers_factors_follow_its_weight_and_its_copies():
    layer, (_, d_out) = in_8_bits(), gradients(torch.float32)
    expected = add_input_gradient(None, d_out, layer)
    layer(torch.randn(3, INPUTS))  # moves the integers to the layer's state
    copied = copy.deepcopy(layer)
    layer.state.SCB = layer.state.SCB * 3
    assert apart(add_input_gradient(None, d_out, layer), 3 * expected.double()) < 1e-6
    assert torch.equal(add_input_gradient(None, d_out, copied), expected)
