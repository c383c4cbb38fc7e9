"""bitsandbytes stores parameters as libraries/bitsandbytes_storage.py reads them."""

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt

from anima_exp.libraries import bitsandbytes_internals as internals
from anima_exp.libraries import bitsandbytes_storage as storage

INPUTS, OUTPUTS = 128, 160
BLOCKS = OUTPUTS * INPUTS // internals.WEIGHTS_A_CONSTANT


@pytest.mark.parametrize(
    ("double", "constants"),
    [(False, 4 * BLOCKS), (True, BLOCKS + 4 * -(-BLOCKS // internals.CONSTANTS_A_CONSTANT) + 4)],
)
def test_a_4bit_parameter_knows_its_type_and_holds_its_constants(double, constants):
    layer = Linear4bit(INPUTS, OUTPUTS, compress_statistics=double, quant_type="fp4").to("cpu")
    assert storage.number_type(layer.weight) == "fp4"
    assert storage.constants_bytes(layer.weight) == constants


def test_an_8bit_parameter_holds_a_number_for_each_row():
    layer = Linear8bitLt(INPUTS, OUTPUTS, has_fp16_weights=False).to("cpu")
    assert storage.number_type(layer.weight) == "int8"
    assert storage.constants_bytes(layer.weight) == 4 * OUTPUTS


def test_any_other_parameter_has_its_own_type_and_no_constants():
    assert storage.number_type(torch.zeros(1, dtype=torch.bfloat16)) == "bf16"
    assert storage.number_type(torch.zeros(1, dtype=torch.float8_e4m3fn)) == "fp8"
    assert storage.constants_bytes(torch.zeros(4)) == 0
