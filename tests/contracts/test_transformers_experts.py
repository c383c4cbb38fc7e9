"""transformers still has what libraries/transformers_experts.py uses; a test names each part."""

import pytest
import torch
from support.small_models import small

from anima_exp.libraries import transformers_experts as experts


def first(family, **settings):
    return experts.expert_modules(small(family, **settings))[-1]


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss"])
def test_experts_are_stacks_that_a_function_from_outside_computes(family):
    name, module, stacks = first(family)
    assert name.endswith(".experts")
    assert stacks == ["gate_up_proj", "down_proj"] == list(experts.products_of(module))
    assert experts.takes_experts_function(module)
    assert experts.expert_count(module) == 4
    assert experts.is_transposed(module) == experts.has_bias(module) == (family == "gpt_oss")
    assert experts.norm_behind(module) is None
    assert experts.apply_gate(module, torch.randn(3, 8)).shape == (3, 4)


def test_llama_4_computes_its_stacks_itself():
    _, module, stacks = first("llama4")
    assert stacks == ["gate_up_proj", "down_proj"]
    assert not experts.takes_experts_function(module)


def test_a_stack_is_multiplied_as_its_module_says():
    from torch.nn.functional import linear

    for family in ("mixtral", "gpt_oss"):
        _, module, _ = first(family)
        x = torch.randn(3, 64)
        one = torch.full((3, 1), 2)
        found = module(x, one, torch.ones(3, 1))
        up, down = module.gate_up_proj[2], module.down_proj[2]
        if experts.is_transposed(module):
            up, down = up.T, down.T
        bias = [getattr(module, f"{name}_proj_bias", [None] * 4)[2] for name in ("gate_up", "down")]
        expected = linear(experts.apply_gate(module, linear(x, up, bias[0])), down, bias[1])
        assert torch.allclose(found, expected, atol=1e-5)


def test_stacks_are_quantized_while_they_are_loaded_and_only_inside(tmp_path):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from anima_exp.libraries.bitsandbytes_stacks import quantized_stack

    small("mixtral").save_pretrained(tmp_path)
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")

    def kinds():
        model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=four)
        _, module, stacks = experts.expert_modules(model)[0]
        return {type(getattr(module, name)).__name__ for name in stacks}

    with experts.quantized_while_loading(quantized_stack, absent=False):
        assert kinds() == {"Params4bit"}
    assert kinds() == {"Parameter"}


def test_a_model_is_saved_without_some_weights_and_keeps_them(tmp_path):
    from safetensors.torch import load_file

    model = small("mixtral")
    name = "model.layers.0.mlp.experts.down_proj"
    experts.save_without(model, {name}, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert set(dict(model.named_parameters())) - set(stored) == {name}
