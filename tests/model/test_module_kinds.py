"""Parameters by kind of module: every parameter counts once, whatever the family."""

import pytest
from support.small_models import CONFIGS, small

from anima_exp.config import LoraConfig, TargetModules
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.model.adapter import add_lora
from anima_exp.model.module_kinds import count_by_kind
from anima_exp.results.training_report import Kind


def table(model):
    return {Kind(one.kind): one for one in count_by_kind(model)}


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_every_parameter_of_a_family_is_counted_once(family):
    model = small(family)
    total = sum(one.numel() for one in model.parameters())
    assert sum(one.parameters for one in count_by_kind(model)) == total


def test_a_dense_model_has_its_kinds_with_sizes_and_adapters():
    model = add_lora(
        small("llama"), LoraConfig(target_modules=TargetModules.attention, rank=4, dropout=0)
    )
    found = table(model)
    assert [*found] == [
        Kind.attention, Kind.feed_forward, Kind.embeddings, Kind.head, Kind.norms,
    ]  # fmt: skip
    attention, feed_forward = found[Kind.attention], found[Kind.feed_forward]
    assert (attention.matrices, attention.adapted) == (8, 8)
    assert (feed_forward.matrices, feed_forward.adapted, feed_forward.trained) == (6, 0, 0)
    assert attention.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert attention.parameters == 2 * (64 * 64 * 2 + 64 * 32 * 2)
    assert attention.stored == {"fp32": attention.parameters}
    assert attention.bytes == 4 * attention.parameters
    assert found[Kind.norms].parameters == 5 * 64


def test_experts_and_router_are_kinds_of_their_own():
    found = table(small("mixtral"))
    assert found[Kind.experts].parameters == 2 * 4 * (64 * 192 + 64 * 96)
    assert found[Kind.experts].matrices == 4
    assert found[Kind.router].parameters == 2 * 4 * 64
    assert Kind.feed_forward not in found


def test_a_gate_is_a_router_only_in_a_model_with_experts():
    assert Kind.router not in table(small("llama"))
    assert table(small("deepseek_v3"))[Kind.feed_forward].parameters == 3 * 96 * 64 + 3 * 64 * 64


def test_a_hybrid_has_state_space_and_convolution_parts():
    found = table(small("falcon_h1"))
    assert found[Kind.state_space].matrices == 4
    assert found[Kind.convolution].parameters == 2 * (1536 * 4 + 1536)


def test_a_quantized_weight_counts_its_elements_and_its_constants():
    import_bitsandbytes()
    from bitsandbytes.nn import Linear4bit

    model = small("llama")
    old = model.model.layers[0].mlp.up_proj
    layer = Linear4bit(64, 96, bias=False, quant_type="nf4", compress_statistics=False)
    layer.load_state_dict(old.state_dict())
    model.model.layers[0].mlp.up_proj = layer.to("cpu")
    one = table(model)[Kind.feed_forward]
    assert one.parameters == 6 * 64 * 96
    assert one.stored == {"nf4": 64 * 96, "fp32": 5 * 64 * 96}
    assert one.quantized == 64 * 96
    assert one.bytes == 5 * 64 * 96 * 4 + 64 * 96 // 2 + 4 * (64 * 96 // 64)


def test_modules_that_are_trained_whole_count_once_in_the_base():
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    settings = PeftConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    found = table(get_peft_model(small("llama"), settings))
    one = found[Kind.embeddings]
    assert one.parameters == one.trained == 97 * 64
