"""An adapter's layer that no logit depends on is refused after the first backward pass."""

import pytest
import torch
from support.small_models import small

from anima_exp.config import Fault, LoraConfig, TargetModules
from anima_exp.errors import TrainingError
from anima_exp.model.adapter import add_lora
from anima_exp.training.first_gradients import check_first_gradients, layers_without_gradient


def after_one_backward_pass(model):
    ids = torch.arange(3, 20)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    return model


def adapted(family="llama"):
    which = TargetModules.all_linear if family == "llama" else TargetModules.attention
    return add_lora(small(family), LoraConfig(target_modules=which, rank=4, dropout=0.0))


def test_a_fresh_adapter_has_a_gradient_in_every_layer_although_a_has_none():
    model = after_one_backward_pass(adapted())
    assert all(not p.grad.any() for n, p in model.named_parameters() if "lora_A" in n)
    assert layers_without_gradient(model) == ([], 14)
    check_first_gradients(model)


def test_a_layer_that_no_logit_depends_on_is_refused(capsys):
    model = adapted()
    layer = model.get_base_model().model.layers[1].self_attn.v_proj
    layer.register_forward_hook(lambda module, inputs, out: out.detach())
    after_one_backward_pass(model)
    with pytest.raises(TrainingError) as error:
        check_first_gradients(model)
    assert str(error.value).startswith(
        "Step 1: 1 of 14 layers with an adapter get no gradient: model.layers.1.self_attn.v_proj."
    )
    assert "model.accept=[no_gradient]" in str(error.value)
    check_first_gradients(model, [Fault.no_gradient])


def test_an_adapter_that_was_switched_off_has_no_gradient_at_all():
    model = adapted("mixtral")
    with pytest.raises(TrainingError, match="8 of 8 layers with an adapter get no gradient"):
        check_first_gradients(model)
