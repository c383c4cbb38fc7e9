"""LLaMA's true shapes with random weights are counted and stored as they say."""

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def true_shapes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import true_shapes

    return true_shapes


def test_the_formula_counts_what_torch_counts(true_shapes, compose):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from anima_exp.model.adapter import add_lora

    base = true_shapes.random_base("small", device="cpu", dtype=torch.float32)
    model = add_lora(base, compose().lora)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    ids = torch.randint(3, 1000, (4, 8))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    ours = true_shapes.flops(
        "small", lora_parameters=trained, lengths=np.full(4, 8), label_counts=np.full(4, 8)
    )
    # The first block's inputs need no gradient, and torch's attention on a CPU is not counted.
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_random_blocks_are_stored_in_four_bits(true_shapes):
    import torch

    base = true_shapes.random_base("small", device="cpu", dtype=torch.bfloat16)
    linear = base.model.layers[1].mlp.down_proj
    assert linear.weight.dtype == torch.uint8
    assert linear.weight.numel() == 64 * 192 // 2
    assert linear.quant_state.nested
