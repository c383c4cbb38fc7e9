"""What our LoRA layers compute: of their own model, and plain LoRA alone."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.small_models import small

from anima_exp.config import Precision
from anima_exp.errors import ModelError
from anima_exp.libraries.peft_internals import lora_layers
from anima_exp.model import lora_linear
from anima_exp.model.generation import inference_mode
from anima_exp.model.lora_linear import lora_weights

IDS = torch.tensor([[1, 5, 9, 2]])


def adapted(dtype=torch.float32, **more):
    model = get_peft_model(
        small().to(dtype), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], **more)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def gradients(model):
    model(input_ids=IDS).logits.square().mean().backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found


def test_a_copy_of_a_model_computes_with_its_own_layers():
    model = adapted()
    lora_linear.install(model)
    expected = model(input_ids=IDS).logits, gradients(model)
    copied = copy.deepcopy(model)
    for _, layer in lora_layers(model):
        torch.nn.init.zeros_(layer.base_layer.weight)
    assert torch.equal(copied(input_ids=IDS).logits, expected[0])
    for found, wanted in zip(gradients(copied), expected[1], strict=True):
        assert torch.equal(found, wanted)


def test_a_copy_outlives_its_original():
    model = adapted()
    lora_linear.install(model)
    expected = model(input_ids=IDS).logits
    copied = copy.deepcopy(model)
    del model
    assert torch.equal(copied(input_ids=IDS).logits, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_operation_of_torch_computes_the_same(dtype):
    model = adapted(dtype, lora_dropout=0.3)
    keys = lora_linear.install(model)
    keys.now = torch.arange(4, dtype=torch.int32)
    found = []
    for wanted in (False, True):
        lora_linear.be_one_operation(model, wanted)
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            found.append((model(input_ids=IDS).logits, *gradients(model)))
    assert len(found[0]) == 9
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize(
    ("variant", "attributes"),
    [
        ({"alora_invocation_tokens": [1, 5], "task_type": "CAUSAL_LM"}, "lora_variant"),
        ({"lora_bias": True}, "lora_bias"),
    ],
)
def test_another_variant_is_refused_and_nothing_is_changed(variant, attributes):
    model = get_peft_model(
        small(attention_bias=True), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], **variant)
    )
    before = model(input_ids=IDS).logits
    with pytest.raises(ModelError) as error:
        lora_linear.install(model)
    assert str(error.value) == (
        f"The adapter's layer base_model.model.model.layers.0.self_attn.q_proj has {attributes}, "
        "so it is a variant of LoRA. Training supports plain LoRA, rsLoRA and DoRA. Use an adapter "
        "without it."
    )
    assert torch.equal(model(input_ids=IDS).logits, before)


def embeddings_too():
    return get_peft_model(small(), LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"]))


def other_layers_than_the_one_beside_it():
    model = get_peft_model(small(), LoraConfig(r=4, target_modules=["q_proj"]))
    model.add_adapter("beside1", LoraConfig(r=4, target_modules=["v_proj"]))
    return model


def experts():
    return get_peft_model(
        small("mixtral"),
        LoraConfig(r=4, target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"]),
    )


@pytest.mark.parametrize("build", [embeddings_too, other_layers_than_the_one_beside_it, experts])
def test_what_is_no_linear_layer_with_this_adapter_is_left_to_peft(build):
    model = build().eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
    lora_linear.use_if_plain(model)
    with inference_mode(model, Precision.fp32):
        assert torch.allclose(model(input_ids=IDS).logits, expected, atol=1e-6)
    assert lora_weights(model)


def test_an_expert_that_sees_no_token_computes_nothing_and_has_gradients_of_zero():
    model = adapted(lora_dropout=0.3)
    lora_linear.install(model)
    layer = dict(lora_layers(model))["base_model.model.model.layers.0.self_attn.v_proj"]
    x = torch.zeros(1, 0, 64, requires_grad=True)
    found = layer(x)
    assert found.shape == (1, 0, 32)
    found.sum().backward()
    assert x.grad.shape == x.shape and not layer.lora_B["default"].weight.grad.any()
