"""Operations and sizes of the four LLaMA models, against figures worked out by hand elsewhere."""

import pytest

from anima_exp.config import ActivationCheckpointing
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.step_time import flops
from anima_exp.planner.weights import base_weights, trained

# Rows of 512 tokens, rank 64 on every layer, the head at every token: (GFLOP a token without and
# with full recomputation; 4-bit matrices and their constants in GB; millions of LoRA parameters;
# milliseconds to dequantize every matrix once at 3.35 TB/s).
BY_HAND = {
    "7b": (27.8, 41.2, 3.3, 160, 4.9),
    "13b": (53.5, 79.6, 6.5, 250, 9.5),
    "33b": (133, 199, 16.6, 488, 24.1),
    "65b": (267, 399, 33.4, 800, 48.6),
}


@pytest.mark.parametrize("size", BY_HAND)
def test_llama_costs_what_was_worked_out_by_hand(compose, size):
    config = compose(f"model=llama{size}")
    shape = find_shape(config.model)
    kept, again, matrices, lora, dequantizing = BY_HAND[size]

    def gigaflops(recompute):
        of_token = flops(shape, config, row_tokens=512, label_share=1, recompute=recompute)
        return of_token.total / 1e9

    assert gigaflops(ActivationCheckpointing.none) == pytest.approx(kept, rel=0.005)
    assert gigaflops(ActivationCheckpointing.full) == pytest.approx(again, rel=0.005)
    assert gigaflops(ActivationCheckpointing.selective) == gigaflops(ActivationCheckpointing.none)
    stored = [k for k in base_weights(shape, config) if k.kind in ("attention", "feed-forward")]
    in_4_bits = sum(kind.total for kind in stored)
    assert in_4_bits / 1e9 == pytest.approx(matrices, abs=0.05)
    assert trained(shape, config).parameters / 1e6 == pytest.approx(lora, abs=0.5)
    written = 2 * shape.linear_weights
    assert (in_4_bits + written) / 3.35e12 * 1000 == pytest.approx(dequantizing, rel=0.01)


def test_a_weight_that_learns_costs_half_as_much_again_as_a_frozen_one(compose):
    frozen = compose("model=llama7b")
    learning = compose("model=llama7b", "lora=full_finetune", "quant=none")
    shape = find_shape(frozen.model)
    how = {"row_tokens": 512, "label_share": 1, "recompute": ActivationCheckpointing.none}
    ratio = flops(shape, learning, **how).base / flops(shape, frozen, **how).base
    assert ratio == 1.5


def test_the_head_costs_only_where_there_are_labels(compose):
    config = compose("model=llama7b")
    shape = find_shape(config.model)
    how = {"row_tokens": 512, "recompute": ActivationCheckpointing.none}
    half = flops(shape, config, label_share=0.5, **how).head
    assert half == flops(shape, config, label_share=1, **how).head / 2
