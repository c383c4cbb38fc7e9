"""Which weights decay, and which states of an 8-bit optimizer have 32 bits."""

import pytest
import torch
from small_models import small

from anima_exp.config import OptimizerConfig, OptimizerName
from anima_exp.training.optimizer import make_optimizer


def config(name=OptimizerName.adamw, **settings):
    return OptimizerConfig(name=name, learning_rate=0.01, **settings)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_biases_and_norms_do_not_decay(family):
    model = small(family).requires_grad_()
    optimizer = make_optimizer(model, config(weight_decay=0.1))
    names = {weight: name for name, weight in model.named_parameters()}
    decayed, others = optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert all(weight.ndim == 2 for weight in decayed["params"])
    assert all(weight.ndim == 1 for weight in others["params"])
    assert {names[w] for w in decayed["params"] + others["params"]} == {*names.values()}


def test_what_is_frozen_has_no_place_in_the_optimizer():
    model = small()
    model.lm_head.requires_grad_()
    decayed, others = make_optimizer(model, config()).param_groups
    assert decayed["params"] == [model.lm_head.weight] and others["params"] == []


def states(model):
    """By name, the type of each weight's states after one step in 8 bits."""
    optimizer = make_optimizer(model, config(OptimizerName.paged_adamw_8bit))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.ones_like(weight)
    optimizer.step()
    return {
        name: optimizer.state[weight]["state1"].dtype
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def test_embeddings_keep_states_of_32_bits_and_the_next_run_does_not_inherit_that():
    found = states(small().requires_grad_())
    assert found["model.embed_tokens.weight"] is torch.float32
    assert found["model.layers.0.mlp.up_proj.weight"] is torch.uint8
    other = small()
    other.model.layers[0].mlp.up_proj.requires_grad_()  # the first of its group, as embeddings were
    assert states(other) == {"model.layers.0.mlp.up_proj.weight": torch.uint8}
