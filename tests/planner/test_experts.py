"""What a plan says of stacked experts is what a run stores."""

from types import SimpleNamespace

import pytest
import torch
from support.experts import IDS, adapted, load, saved

from anima_exp.config import (
    LoraConfig,
    OptimizerName,
    Precision,
    QuantConfig,
    Quantization,
    TargetModules,
)
from anima_exp.model import lora_linear
from anima_exp.model.expert_weights import quantized_experts
from anima_exp.model.linear_layers import count
from anima_exp.planner.activations import experts_kept
from anima_exp.planner.shape import from_model
from anima_exp.planner.weights import base_weights, dequantized_copy, trained


def settings(double=True):
    return SimpleNamespace(
        lora=LoraConfig(target_modules=TargetModules.all_linear, dropout=0, experts=True, rank=4),
        quant=QuantConfig(type=Quantization.nf4, double_quant=double, compute_dtype=Precision.fp32),
        trainer=SimpleNamespace(precision=Precision.fp32, liger=False),
        model=SimpleNamespace(norms_in_fp32=False),
        optimizer=SimpleNamespace(name=OptimizerName.adamw),
    )


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("family", ["qwen3_moe", "deepseek_v3", "gpt_oss", "llama4"])
def test_the_bytes_of_experts_are_those_in_memory(family, double, tmp_path):
    base = load(saved(tmp_path, family), double=double)
    shape, config = from_model(base), settings(double)
    assert shape.parameters == count(base).total
    planned = {one.kind: one for one in base_weights(shape, config)}
    stored = quantized_experts(base)
    assert planned["experts"].total == sum(one.bytes for one in stored)
    assert planned["experts"].elements == sum(one.elements for one in stored)
    model = adapted(base)
    learning = [one for one in model.parameters() if one.requires_grad]
    expected = trained(shape, config)
    assert (expected.parameters, expected.tensors) == (
        sum(one.numel() for one in learning), len(learning),
    )  # fmt: skip
    from anima_exp.model.dequantized_weights import keep_dequantized

    assert dequantized_copy(shape, config) == keep_dequantized(model)


@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral"])
def test_the_activations_of_experts_are_those_that_autograd_keeps(family, tmp_path):
    model = adapted(load(saved(tmp_path, family)))
    lora_linear.install(model)
    block = from_model(load(tmp_path)).blocks[0]
    module = model.get_base_model().model.layers[0].mlp
    kept = {}

    def keep(one):
        if one.is_floating_point() and one.numel():
            kept[one.untyped_storage().data_ptr()] = one
        return one

    x = torch.randn(1, 200, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        module(x)
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    numbers = sum(one.untyped_storage().nbytes() // 4 for key, one in kept.items()
                  if key not in weights)  # fmt: skip
    planned = experts_kept(block, rank=4, full=False) * 200
    assert numbers == pytest.approx(planned, rel=0.15)
    assert IDS.shape
