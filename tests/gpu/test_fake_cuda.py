"""A micro-batch of LLaMA-7B on a fake "cuda": devices, dtypes and signatures at true shapes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
CASES = [
    "nf4,bf16,none",
    "nf4,bf16,selective",
    "nf4,bf16,full",
    "kept,bf16,none",
    "int8,fp16,none",
    "none,fp16,selective",
]
LORA_LAYERS = 7  # of each block

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the fake CUDA device is made on Linux"),
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++ for the fake CUDA device"),
    pytest.mark.skipif(torch.backends.cuda.is_built(), reason="this torch has CUDA itself"),
]


def passes(blocks, *cases):
    found = subprocess.run(
        [sys.executable, str(HERE / "fake_step.py"), str(blocks), *cases],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stderr[-4000:]
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return {line.pop("case"): line for line in lines}


@pytest.fixture(scope="module")
def two_blocks():
    return passes(2, *CASES)


def assert_complete(found, blocks):
    assert found["loss"] == ["cuda:0", "torch.float32"]
    assert found["trained"] == 2 * LORA_LAYERS * blocks
    assert found["gradients"] == {"cuda:0 torch.float32": found["trained"]}
    assert found["frozen gradients"] == 0


@pytest.mark.parametrize("case", CASES)
def test_every_lora_parameter_has_its_gradient_on_the_gpu(two_blocks, case):
    assert_complete(two_blocks[case], blocks=2)


@pytest.mark.slow
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_all_of_7b_has_its_gradients_on_the_gpu(recompute):
    case = f"nf4,bf16,{recompute}"
    assert_complete(passes(32, case)[case], blocks=32)


@pytest.mark.parametrize("case", CASES)
def test_attention_is_torchs_for_rows_of_different_lengths(two_blocks, case):
    found = two_blocks[case]["operations"]
    forward = [name for name in found if "_varlen_attn.default" in name]
    assert sum(found[name] for name in forward) == (4 if case.endswith("full") else 2)
    assert not any("_scaled_dot_product" in name for name in found)


@pytest.mark.parametrize("case", CASES)
def test_the_loss_of_848_labels_is_one_chunk_without_a_sort(two_blocks, case):
    """A CPU takes two: 27 million logits are more than 2**24. Its index_put would sort on a GPU."""
    found = two_blocks[case]["operations"]
    assert found["aten.mm.dtype_out"] == 1
    assert found["aten.index_add.default"] == 1
    assert not any("index_put" in name for name in found)
