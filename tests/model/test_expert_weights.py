"""Stacked experts are in 4 bits from loading on, and compute what their numbers say."""

import weakref

import pytest
import torch
from support.experts import FAMILIES, IDS, apart, gradients, load, plain_twin, saved

from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import elements, is_quantized
from anima_exp.model import expert_weights, quantized_cache
from anima_exp.model.expert_weights import quantized_experts, stack_names
from anima_exp.model.linear_layers import count

pytestmark = pytest.mark.usefixtures("shown")


@pytest.mark.parametrize("family", FAMILIES)
def test_experts_in_4_bits_give_the_gradients_of_their_dequantized_weights(family, tmp_path):
    folder = saved(tmp_path, family)
    model = load(folder)
    stacks = stack_names(model)
    assert [one.name for one in quantized_experts(model)] == stacks != []
    twin = plain_twin(model, folder)
    assert count(model).total == count(twin).total
    for one in (model, twin):
        one.get_input_embeddings().weight.requires_grad_(True)
    (ours, of_ours), (theirs, of_theirs) = gradients(model), gradients(twin)
    assert apart(ours, theirs) < 1e-6
    (name,) = of_ours
    assert apart(of_ours[name], of_theirs[name]) < 1e-6


@pytest.mark.parametrize(("kind", "double", "bytes_a_weight"), [
    ("nf4", True, 0.5 + 1 / 64), ("fp4", True, 0.5 + 1 / 64), ("nf4", False, 0.5 + 4 / 64),
])  # fmt: skip
def test_a_stack_takes_as_many_bytes_as_its_settings_say(kind, double, bytes_a_weight, tmp_path):
    model = load(saved(tmp_path, "qwen3_moe"), kind, double=double)
    for one in quantized_experts(model):
        assert one.kind == kind
        assert one.bytes / one.elements == pytest.approx(bytes_a_weight, rel=0.01)
        parameter = model.get_submodule(one.name.rpartition(".")[0])._parameters[
            one.name.rpartition(".")[2]
        ]
        assert is_quantized(parameter)
        assert elements(parameter) == one.elements


def test_one_stack_at_a_time_is_in_16_bits_while_a_base_is_loaded(tmp_path, monkeypatch):
    seen, quantize = [], expert_weights.quantized_stack

    def watched(weight, *args, **kwargs):
        assert all(one() is None for one in seen)
        seen.append(weakref.ref(weight))
        return quantize(weight, *args, **kwargs)

    monkeypatch.setattr(expert_weights, "quantized_stack", watched)
    load(saved(tmp_path, "mixtral"))
    assert len(seen) == 4


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss", "llama4"])
def test_autograd_keeps_no_dequantized_experts(family, tmp_path):
    model = load(saved(tmp_path, family))
    model.get_input_embeddings().weight.requires_grad_(True)
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda one: kept.append(tuple(one.shape)) or one, lambda one: one
    )
    with hooks:
        model(input_ids=IDS).logits.sum().backward()
    stacks = {tuple(one.shape) for one in plain_twin(model, tmp_path).parameters() if one.ndim == 3}
    matrices = {shape[1:] for shape in stacks} | {shape[:0:-1] for shape in stacks}
    assert kept
    assert not stacks & set(kept)
    if family != "llama4":  # whose hidden states have the sizes of a matrix by chance
        assert not matrices & set(kept)


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "llama4", "gpt_oss"])
def test_the_cache_gives_a_base_with_experts_back_bit_for_bit(
    family, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(quantized_cache, "_WORTH_BYTES", 0)
    folder, cache = saved(tmp_path / "base", family), tmp_path / "cache"
    first = load(folder, cache=cache)
    capsys.readouterr()
    second = load(folder, cache=cache)
    assert "already quantized" in capsys.readouterr().out
    for (name, one), (other, again) in zip(
        first.named_parameters(), second.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(one, again)
        if hasattr(one, "quant_state"):
            constants, read = (each.quant_state.as_dict(packed=True) for each in (one, again))
            assert constants.keys() == read.keys()
            assert all(torch.equal(value, read[key]) for key, value in constants.items())
    assert torch.equal(first(input_ids=IDS).logits, second(input_ids=IDS).logits)


def test_a_cached_copy_of_the_base_covers_its_experts(tmp_path):
    from anima_exp.model.dequantized_weights import keep_dequantized

    model = load(saved(tmp_path, "qwen3_moe"))
    before = model(input_ids=IDS).logits
    numbers = sum(elements(one) for one in model.parameters() if is_quantized(one))
    assert keep_dequantized(model) == 4 * numbers  # in fp32
    for one in model.parameters():
        if is_quantized(one):
            one.data.zero_()
    assert torch.equal(model(input_ids=IDS).logits, before)


def test_8_bits_are_refused_and_4_bits_named(tmp_path):
    saved(tmp_path, "mixtral")
    with pytest.raises(ModelError) as error:
        load(tmp_path, "int8")
    assert str(error.value) == (
        f"quant=int8 quantizes only 14 % of the weights in the blocks of model.source={tmp_path}: "
        "its experts (model.layers.1.mlp.experts.gate_up_proj) are one stacked tensor. Choose "
        "quant=nf4, which also quantizes stacked experts, or another model, use quant=none if its "
        "16-bit weights fit into memory, or accept this with model.accept=[unquantized]."
    )


def test_few_tokens_dequantize_only_the_experts_that_they_need(tmp_path, monkeypatch):
    from anima_exp.libraries.bitsandbytes_stacks import Stack

    folder = saved(tmp_path, "qwen3_moe", num_experts=16)
    model = load(folder)
    whole = model(input_ids=IDS[:, :1]).logits
    monkeypatch.delattr(Stack, "all")
    assert torch.equal(model(input_ids=IDS[:, :1]).logits, whole)
    with pytest.raises(AttributeError):
        model(input_ids=IDS)
