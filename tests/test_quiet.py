"""What the libraries say of choices that we made knowingly is not shown."""

import subprocess
import sys

INT8 = """
import sys
from anima_exp.quiet import quiet_libraries

quiet_libraries()
assert "bitsandbytes" not in sys.modules
import torch
from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.model.base import load_base

model = load_base(
    ModelConfig(name="tiny", source="tiny"),
    QuantConfig(type=Quantization.int8, compute_dtype=Precision.fp32, snapshot=False),
    precision=Precision.fp32,
)
model(input_ids=torch.tensor([[1, 17, 30]]))
"""


def test_a_forward_pass_in_int8_prints_nothing():
    done = subprocess.run([sys.executable, "-c", INT8], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
