"""PEFT still has what libraries/peft_experts.py uses; a test names each part."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.small_models import small

from anima_exp.libraries import peft_experts

STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def adapted(family="qwen3_moe", **settings):
    chosen = {"r": 2, "target_modules": ["q_proj"], "target_parameters": STACKS} | settings
    model = get_peft_model(small(family), LoraConfig(**chosen))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


def wrappers(model):
    return [one for one in model.modules() if peft_experts.is_expert_wrapper(one)]


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])
def test_a_wrapper_adds_s_b_a_to_each_matrix_of_its_stack(family):
    found = wrappers(adapted(family))
    assert [peft_experts.adapted_stack(one) for one in found] == ["down_proj", "gate_up_proj"] * 2
    for wrapper in found:
        assert peft_experts.expert_adapter(wrapper) == "default"
        a, b, scaling = peft_experts.expert_update(wrapper, "default")
        a, b = peft_experts.by_expert(a, b, 4)
        delta = scaling * (b @ a)
        if peft_experts.delta_is_transposed(wrapper):
            delta = delta.mT
        assert peft_experts.delta_is_transposed(wrapper) == (family == "gpt_oss")
        assert torch.allclose(wrapper.get_delta_weight("default"), delta, atol=1e-5)
        inner = peft_experts.inner_module(wrapper)
        assert delta.shape == getattr(inner, peft_experts.adapted_stack(wrapper)).shape


def test_an_adapter_that_is_off_is_none():
    model = adapted()
    with model.disable_adapter():
        assert peft_experts.expert_adapter(wrappers(model)[0]) is None


@pytest.mark.filterwarnings("ignore:The following rank_pattern:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:The following alpha_pattern:RuntimeWarning")
def test_peft_takes_layers_of_a_shared_expert_for_experts_unless_names_are_kept():
    names = {"target_modules": ["gate_proj", "up_proj", "down_proj"], "target_parameters": None}
    assert wrappers(adapted("deepseek_v3", **names))
    with peft_experts.keep_names():
        model = adapted("deepseek_v3", **names)
    assert not wrappers(model)
    assert peft_experts.would_rename(model)
    assert not peft_experts.would_rename(adapted("qwen3_moe"))
    assert any("shared_experts.up_proj.lora_A" in name for name, _ in model.named_parameters())


def test_peft_reads_only_the_shape_of_a_stack_when_it_wraps_it():
    model = small("qwen3_moe")
    module = model.model.layers[0].mlp.experts
    packed = torch.nn.Parameter(torch.zeros(7, dtype=torch.uint8), requires_grad=False)
    real = module.gate_up_proj
    module.register_parameter("gate_up_proj", packed)
    stand_in = torch.nn.Parameter(torch.zeros(()).expand(real.shape), requires_grad=False)
    with peft_experts.with_shapes([(module, "gate_up_proj", stand_in)]):
        found = get_peft_model(model, LoraConfig(r=2, target_modules=[], target_parameters=STACKS))
    assert module.gate_up_proj is packed
    wrapper = wrappers(found)[1]
    assert peft_experts.expert_update(wrapper, "default")[0].shape == (8, 64)
