"""bitsandbytes still has what libraries/bitsandbytes_internals.py uses; a test names each part."""

import inspect
import logging

import bitsandbytes
import pytest
import torch
from bitsandbytes.autograd import _functions
from bitsandbytes.backends.cpu import ops
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit, modules

from anima_exp.libraries import bitsandbytes_internals as internals

INPUTS, OUTPUTS = 128, 160
CPU = torch.device("cpu")


def weight():
    return torch.randn(OUTPUTS, INPUTS, generator=torch.manual_seed(0))


@pytest.fixture(params=[False, True], ids=["single", "double"])
def in_4_bits(request):
    layer = Linear4bit(
        INPUTS,
        OUTPUTS,
        bias=False,
        compute_dtype=torch.float32,
        compress_statistics=request.param,
        quant_type="nf4",
    )
    layer.weight.data = weight()
    return layer.to(CPU)


@pytest.fixture
def in_8_bits():
    layer = Linear8bitLt(INPUTS, OUTPUTS, bias=False, has_fp16_weights=False)
    layer.weight.data = weight()
    return layer.to(CPU)


def test_a_4bit_parameter_carries_quant_state(in_4_bits):
    assert type(in_4_bits.weight) is Params4bit
    assert in_4_bits.weight.quant_state.shape == (OUTPUTS, INPUTS)
    assert internals.is_4bit_layer(in_4_bits)
    assert internals.is_quantized(in_4_bits.weight)


def test_two_4bit_weights_share_a_byte(in_4_bits):
    assert in_4_bits.weight.element_size() * in_4_bits.weight.numel() == OUTPUTS * INPUTS // 2
    assert internals.elements(in_4_bits.weight) == OUTPUTS * INPUTS


def test_a_4bit_parameter_has_a_constant_for_each_block_of_64(in_4_bits):
    state = in_4_bits.weight.quant_state
    blocks = OUTPUTS * INPUTS // internals.WEIGHTS_A_CONSTANT
    largest = weight().reshape(blocks, -1).abs().amax(dim=1)
    maxima = internals.block_maxima(in_4_bits.weight)
    assert state.absmax.numel() == blocks
    if not state.nested:
        assert torch.equal(maxima, largest)
    else:  # its constants are packed anew, and those of them are plain
        assert maxima.numel() == -(-blocks // internals.CONSTANTS_A_CONSTANT)
        assert maxima.dtype == torch.float32


def test_a_nan_shows_in_the_constants_of_a_4bit_parameter(in_4_bits):
    layer = Linear4bit(INPUTS, OUTPUTS, bias=False, quant_type="nf4")
    layer.weight.data = weight()
    layer.weight.data[3, 5] = float("inf")
    assert not internals.block_maxima(layer.to(CPU).weight).isfinite().all()


def test_a_4bit_layer_computes_with_the_weights_that_it_gives_as_numbers(in_4_bits):
    x = torch.randn(3, INPUTS)
    found = internals.bitsandbytes_weight(in_4_bits)
    assert (found - weight()).norm() < 0.15 * weight().norm()
    assert torch.allclose(in_4_bits(x), x @ found.T, atol=1e-4)


@pytest.mark.parametrize("double", [False, True])
def test_moving_a_4bit_parameter_to_a_device_quantizes_it(double):
    found = internals.rounded_to_4_bits(weight(), "nf4", CPU, double_quant=double)
    packed, state = quantize_4bit(weight(), quant_type="nf4", compress_statistics=double)
    assert torch.equal(found, dequantize_4bit(packed, state))


def test_a_4bit_layer_has_a_flag_against_repacking_its_weight(in_4_bits, monkeypatch):
    def refuse(*_):
        raise AssertionError("the weight is repacked")

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    monkeypatch.setattr(modules, "_convert_weight_packed_for_cpu", refuse)
    in_4_bits.eval()
    in_4_bits.support_avx512bf16_for_cpu = True
    with torch.no_grad(), pytest.raises(AssertionError, match="repacked"):
        in_4_bits(torch.randn(1, INPUTS))
    internals.keep_cpu_4bit_trainable(in_4_bits)
    with torch.no_grad():
        in_4_bits(torch.randn(1, INPUTS))


def test_a_4bit_layer_computes_in_its_compute_dtype(in_4_bits):
    internals.set_compute_type(in_4_bits, torch.bfloat16)
    x = torch.randn(3, INPUTS, requires_grad=True)
    rounded = x.bfloat16() @ internals.bitsandbytes_weight(in_4_bits).bfloat16().T
    assert torch.equal(in_4_bits(x), rounded.float())


def test_a_4bit_layer_takes_its_constants_from_itself_if_its_weight_has_none(in_4_bits):
    x = torch.randn(3, INPUTS)
    expected, numbers = in_4_bits(x), internals.bitsandbytes_weight(in_4_bits)
    internals.hold_constants(in_4_bits, CPU)
    in_4_bits.weight = torch.nn.Parameter(in_4_bits.weight.data, requires_grad=False)
    assert torch.equal(internals.bitsandbytes_weight(in_4_bits), numbers)
    assert torch.equal(in_4_bits(x), expected)


def test_an_8bit_parameter_holds_integers_and_the_largest_number_of_each_row(in_8_bits):
    assert type(in_8_bits.weight) is Int8Params
    assert internals.is_quantized(in_8_bits.weight)
    assert in_8_bits.weight.CB.dtype == torch.int8
    assert torch.allclose(in_8_bits.weight.SCB, weight().abs().amax(dim=1), rtol=1e-2)


def test_an_8bit_weight_is_its_integer_times_its_rows_maximum_over_127(in_8_bits):
    assert internals.LARGEST_INTEGER == 127
    integers, maxima = internals.integers_and_maxima(in_8_bits)
    assert integers.abs().amax(dim=1).tolist() == [127] * OUTPUTS
    step = maxima[:, None] / 127
    assert ((integers * step - weight()).abs() <= 0.6 * step).all()  # fp16 before
    in_8_bits(torch.randn(3, INPUTS))  # which moves them to the layer's state
    assert internals.integers_and_maxima(in_8_bits)[0] is integers
    assert internals.integers_and_maxima(torch.nn.Linear(2, 2)) is None


def test_an_8bit_layer_moves_its_numbers_to_its_state_at_the_first_pass(in_8_bits):
    before = internals.bitsandbytes_weight(in_8_bits)
    assert (before - weight()).norm() < 0.02 * weight().norm()
    x = torch.randn(3, INPUTS)
    found = in_8_bits(x)
    assert in_8_bits.weight.CB is None
    assert in_8_bits.state.CB is not None
    assert torch.equal(internals.bitsandbytes_weight(in_8_bits), before)
    assert (found - x @ before.T).norm() < 0.02 * found.norm()


def test_an_8bit_layer_computes_from_the_integers_in_its_state(in_8_bits):
    x = torch.randn(3, INPUTS)
    expected = in_8_bits(x)
    internals.hold_constants(in_8_bits, CPU)
    in_8_bits.weight = torch.nn.Parameter(in_8_bits.weight.data, requires_grad=False)
    assert torch.equal(in_8_bits(x), expected)


@pytest.mark.parametrize(("size", "dtype"), [(4095, torch.float32), (4096, torch.uint8)])
def test_an_8bit_optimizer_keeps_32bit_states_for_tensors_below_4096(size, dtype):
    assert internals.LEAST_IN_8_BITS == 4096
    parameter = torch.nn.Parameter(torch.ones(size))
    optimizer = bitsandbytes.optim.AdamW8bit([parameter])
    parameter.grad = torch.ones(size)
    optimizer.step()
    state = optimizer.state[parameter]
    assert state["state1"].dtype == dtype
    if dtype is torch.uint8:
        assert state["absmax1"].numel() == size // internals.STATES_A_CONSTANT


def test_a_paged_optimizer_pages_tensors_of_100_000_numbers():
    """It needs a GPU, so its source is read."""
    assert internals.LEAST_PAGED == 100_000
    assert "p.numel() < 1e5" in inspect.getsource(bitsandbytes.optim.optimizer.Optimizer8bit)


def test_what_is_paged_carries_a_mark():
    """It needs a GPU, so its source is read."""
    assert ".is_paged = True" in inspect.getsource(bitsandbytes.functional.get_paged)
    parameter = torch.nn.Parameter(torch.ones(5000))
    optimizer = bitsandbytes.optim.AdamW([parameter])
    parameter.grad = torch.ones(5000)
    optimizer.step()
    assert internals.paged_bytes(optimizer) == {}


def test_an_optimizer_loads_states_without_moving_them_and_names_them_state1_and_state2():
    parameter = torch.nn.Parameter(torch.ones(5000))
    optimizer = bitsandbytes.optim.AdamW8bit([parameter])
    parameter.grad = torch.ones(5000)
    optimizer.step()
    assert internals.has_own_states(optimizer)
    assert {"state1", "state2"} <= optimizer.state[parameter].keys()
    again = bitsandbytes.optim.AdamW8bit([parameter])
    internals.load_into_pages(again, optimizer.state_dict())
    assert torch.equal(again.state[parameter]["state1"], optimizer.state[parameter]["state1"])
    assert "dtype" in inspect.signature(optimizer.get_state_buffer).parameters


def test_the_table_of_exceptions_of_a_process_can_be_emptied():
    exceptions = internals.new_exceptions()
    exceptions.register_module_override(torch.nn.Embedding(2, 2), "weight", {"optim_bits": 32})
    assert exceptions.module_weight_config_triple
    assert not internals.new_exceptions().module_weight_config_triple


def test_the_product_by_4bit_weights_is_one_operation_of_that_name():
    assert hasattr(torch.ops.bitsandbytes, internals.PRODUCT_IN_4_BITS)


def test_the_loggers_of_casts_and_of_the_missing_kernel_have_their_modules_names():
    assert _functions.logger is logging.getLogger(internals.CAST_LOGGER)
    assert ops.logger is logging.getLogger("bitsandbytes.backends.cpu.ops")


def test_the_layers_classes_are_in_modules_of_bitsandbytes(in_4_bits, in_8_bits):
    assert internals.is_own_layer(in_4_bits)
    assert internals.is_own_layer(in_8_bits)
    assert not internals.is_own_layer(torch.nn.Linear(1, 1))
