"""Triton's kernels without a GPU: interpreted on the CPU, and compiled for GPUs that are absent."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

HERE = Path(__file__).parent


def run(script, *arguments, **environment):
    found = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert found.returncode == 0, found.stderr[-4000:]
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return {line.pop("case"): line for line in lines}


def test_the_dropout_kernel_has_the_mask_of_a_cpu_bit_for_bit():
    found = run("interpreted_kernels.py", "dropout", TRITON_INTERPRET="1")
    assert len(found) == 3 * 6 * 4
    wrong = {
        case: line
        for case, line in found.items()
        if not (line["equal"] and line["equal in place"] and line["input unchanged"])
    }
    assert wrong == {}
    assert all(line["dropped"] == 0 for case, line in found.items() if case.endswith(" 0.0"))
    dropped = found["torch.bfloat16 2049 0.3"]["dropped"] / (5 * 2049)
    assert dropped == pytest.approx(0.3, abs=0.02)


@pytest.mark.slow  # it imports torch, transformers and all of liger
@pytest.mark.skipif(find_spec("liger_kernel") is None, reason="pip install 'anima-exp[gpu]'")
def test_ligers_kernels_compute_the_formulas_that_they_stand_for():
    found = run("interpreted_kernels.py", "liger", TRITON_INTERPRET="1")
    assert found.keys() == {"SwiGLU", "rotary"}
    assert all(line["apart"] < 1e-6 for line in found.values()), found


def test_the_dropout_kernel_compiles_for_each_generation_of_gpus(tmp_path):
    found = run("compiled_kernels.py", TRITON_CACHE_DIR=str(tmp_path))
    assert found.keys() == {"75", "80", "89", "90", "100", "120"}
    assert all(line["bytes"] > 0 for line in found.values())
