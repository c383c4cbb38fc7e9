"""Layers that get an adapter are all of their kind, or the run is refused."""

import pytest
import torch
from support.small_models import small
from torch import nn

from anima_exp.config import Fault, LoraConfig, TargetModules
from anima_exp.errors import ModelError
from anima_exp.model.adapter import add_lora


class Product(nn.Module):
    """A matrix product that is no nn.Linear, as custom code may have."""

    def __init__(self, linear):
        super().__init__()
        self.weight = linear.weight

    def forward(self, x):
        return x @ self.weight.T


def lora(which=TargetModules.all_linear, layers=None):
    return LoraConfig(target_modules=which, modules=layers, rank=4, dropout=0.0)


def with_product():
    model = small("llama")
    model.model.layers[1].mlp.up_proj = Product(model.model.layers[1].mlp.up_proj)
    return model


@pytest.mark.parametrize(
    ("which", "way_out"),
    [
        (TargetModules.all_linear, "Name the layers with lora.modules, or"),
        (TargetModules.ffn, "Use lora=all_linear, name these too, or"),
    ],
)
def test_a_matrix_that_is_no_linear_layer_is_named(which, way_out):
    with pytest.raises(ModelError) as error:
        add_lora(with_product(), lora(which))
    assert str(error.value) == (
        f"lora.target_modules={which.value} misses 1 matrices of LlamaForCausalLM that are in no "
        f"linear layer: mlp.up_proj (1). {way_out} accept this with model.accept=[partial_targets]."
    )
    add_lora(with_product(), lora(which), accept=[Fault.partial_targets])


def test_a_set_without_that_kind_is_not_concerned():
    add_lora(with_product(), lora(TargetModules.attention))


def hybrid():
    """A model whose second block mixes tokens by another layer."""
    model = small("llama")
    model.model.layers[1].self_attn = nn.ModuleDict({"in_proj": nn.Linear(64, 64, bias=False)})
    return model


def test_names_that_only_some_blocks_have_are_refused():
    named = lora(TargetModules.named, ["q_proj", "v_proj"])
    with pytest.raises(ModelError) as error:
        add_lora(hybrid(), named)
    assert str(error.value) == (
        "lora.modules reaches 1 of the 2 blocks of LlamaForCausalLM. Only these have "
        "self_attn.q_proj and self_attn.v_proj. The layers of the others are down_proj, gate_proj, "
        "in_proj, up_proj. Use lora=all_linear, name these too, or accept this with "
        "model.accept=[partial_targets]."
    )
    add_lora(hybrid(), named, accept=[Fault.partial_targets])


def test_names_that_every_block_has_are_fine():
    model = add_lora(small("llama"), lora(TargetModules.named, ["q_proj", "v_proj"]))
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == 4
    assert torch.is_tensor(model(input_ids=torch.arange(5)[None]).logits)


def test_a_list_of_matrices_outside_of_blocks_is_not_missed():
    model = small("llama")
    model.model.projections = nn.ModuleList([nn.Linear(64, 64, bias=False)])  # as Gemma 3n has
    add_lora(model, lora())
