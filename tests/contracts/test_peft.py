"""PEFT still has what libraries/peft_internals.py uses; a test names each part."""

import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import layer as peft_layer
from support.small_models import small
from support.tiny_llama import tiny_llama

from anima_exp.libraries import peft_internals

QUERY = "base_model.model.model.layers.0.self_attn.q_proj"


def adapted(**settings):
    chosen = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]} | settings
    model = get_peft_model(tiny_llama(), LoraConfig(**chosen))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def layer():
    return dict(peft_internals.lora_layers(adapted()))[QUERY]


def test_every_adapted_layer_is_a_lora_layer_with_its_full_name():
    names = [name for name, _ in peft_internals.lora_layers(adapted())]
    assert names == [
        f"base_model.model.model.layers.{block}.self_attn.{projection}"
        for block in (0, 1)
        for projection in ("q_proj", "v_proj")
    ]


def test_the_base_of_an_adapted_model_is_transformers_model_itself():
    model = adapted()
    assert type(peft_internals.base_of(model)).__name__ == "LlamaForCausalLM"
    assert peft_internals.base_of(model) is model.base_model.model
    plain = tiny_llama()
    assert peft_internals.base_of(plain) is plain


def test_a_plain_lora_layer_computes_w_x_plus_scaling_b_a_x(layer):
    x = torch.randn(3, layer.in_features)
    a, b, scaling = peft_internals.update_of(layer, "default")
    ours = peft_internals.base_layer(layer)(x) + scaling * (x @ a.T @ b.T)
    assert scaling == 2.0
    assert torch.allclose(layer(x), ours, atol=1e-6)


def test_a_plain_lora_layer_has_no_variant(layer):
    assert peft_internals.variant_of(layer) == []


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({"use_dora": True}, ["lora_variant", "lora_magnitude_vector"]),
        ({"lora_bias": True}, ["lora_bias"]),
    ],
)
def test_a_variant_of_lora_says_so(settings, attributes):
    model = get_peft_model(
        tiny_llama(attention_bias=True), LoraConfig(r=4, target_modules=["q_proj"], **settings)
    )
    layer = peft_internals.lora_layers(model)[0][1]
    assert peft_internals.variant_of(layer) == attributes


def test_a_lora_layer_knows_the_adapter_that_it_adds(layer):
    assert peft_internals.plain_adapter(layer) == "default"


def test_a_lora_layer_whose_adapters_are_off_adds_none():
    model = adapted()
    layer = dict(peft_internals.lora_layers(model))[QUERY]
    with model.disable_adapter():
        assert peft_internals.plain_adapter(layer) is None
    assert peft_internals.plain_adapter(layer) == "default"


def test_a_lora_layer_that_is_merged_adds_none():
    model = adapted()
    layer = dict(peft_internals.lora_layers(model))[QUERY]
    model.merge_adapter()
    assert peft_internals.plain_adapter(layer) is None


def test_a_lora_layer_with_several_active_adapters_is_left_to_peft():
    model = adapted()
    model.add_adapter("other", LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    layer = dict(peft_internals.lora_layers(model))[QUERY]
    assert peft_internals.plain_adapter(layer) == "default"
    model.base_model.set_adapter(["default", "other"])
    assert peft_internals.plain_adapter(layer) is None


def test_a_lora_layer_has_its_dropout_by_adapter(layer):
    assert peft_internals.dropout_of(layer, "default") == 0.0
    with_dropout = dict(peft_internals.lora_layers(adapted(lora_dropout=0.1)))[QUERY]
    assert peft_internals.dropout_of(with_dropout, "default") == 0.1


def test_an_adapters_weights_and_dropouts_are_told_by_their_names():
    model = adapted(lora_dropout=0.1)
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    assert trained
    assert trained == {
        name for name, _ in model.named_parameters() if peft_internals.belongs_to_adapter(name)
    }
    dropouts = [name for name, one in model.named_modules() if isinstance(one, torch.nn.Dropout)]
    assert len(dropouts) == 4
    assert all(map(peft_internals.is_adapter_dropout, dropouts))


def test_peft_wraps_experts_in_one_tensor_in_a_class_called_param_wrapper():
    assert hasattr(peft_layer, "ParamWrapper")


def test_peft_names_the_layer_of_mamba_that_it_refuses():
    with pytest.raises(ValueError) as error:
        get_peft_model(small("mamba2"), LoraConfig(target_modules=["in_proj", "out_proj"]))
    assert peft_internals.refused_layer(error.value) == "out_proj"
    assert peft_internals.refused_layer(ValueError("Module not found")) is None


def test_an_adapter_of_other_sizes_is_refused_in_torchs_words():
    model = adapted()
    name = f"{QUERY}.lora_A.weight"
    with pytest.raises(RuntimeError) as error:
        set_peft_model_state_dict(model, {name: torch.zeros(4, 7)})
    assert peft_internals.says_other_sizes(error.value)


def test_an_adapter_none_of_whose_layers_is_there_is_refused_in_known_words():
    with pytest.raises(ValueError) as error:
        get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["c_attn"]))
    assert peft_internals.says_no_layer(error.value)


def test_peft_lists_the_weights_that_have_no_layer():
    found = set_peft_model_state_dict(
        adapted(), {"base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight": torch.ones(4)}
    )
    (key,) = peft_internals.without_layer(found.unexpected_keys)
    assert peft_internals.layer_of(key) == "model.layers.7.self_attn.q_proj"


def test_peft_lists_the_weights_that_a_layer_still_needs():
    model = adapted()
    found = set_peft_model_state_dict(
        model, {f"{QUERY}.lora_A.weight": torch.zeros(4, 32)}, adapter_name="default"
    )
    missing = peft_internals.without_weight(found.missing_keys, "default")
    assert len(missing) == 7
    assert "model.layers.0.self_attn.q_proj" in map(peft_internals.layer_of, missing)


def test_dora_is_told_from_other_variants():
    dora = peft_internals.lora_layers(adapted(use_dora=True))[0][1]
    assert peft_internals.is_dora(dora)
    assert not peft_internals.is_dora(peft_internals.lora_layers(adapted())[0][1])
    other = adapted(alora_invocation_tokens=[1, 5], task_type="CAUSAL_LM")
    layer = peft_internals.lora_layers(other)[0][1]
    assert peft_internals.variant_of(layer) and not peft_internals.is_dora(layer)


def test_a_module_trained_as_a_whole_has_a_copy_that_computes():
    model = adapted(modules_to_save=["model.norm"])
    ((original, copy),) = peft_internals.copies_of_whole_modules(model)
    names = {name for name, one in model.named_parameters() if one is copy.weight}
    assert all(map(peft_internals.is_trained_copy, names)) and len(names) == 1
    with torch.no_grad():
        copy.weight.mul_(2)
    x = torch.randn(3, 32)
    norm = model.get_base_model().model.norm
    assert torch.allclose(norm(x), 2 * original(x))
    with model.disable_adapter():
        assert torch.equal(norm(x), original(x))


@pytest.mark.parametrize("name", ["model.embed_tokens", "transformer.wte"])
def test_tied_tables_of_known_names_stay_tied(name):
    assert peft_internals.keeps_tied(name) is (name == "model.embed_tokens")
    settings = {"modules_to_save": ["model.embed_tokens"], "ensure_weight_tying": True}
    model = get_peft_model(
        tiny_llama(tie_word_embeddings=True),
        LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings),
    )
    base = model.get_base_model()
    assert base.lm_head.weight is base.model.embed_tokens.weight
    assert base.lm_head.weight.requires_grad


def test_the_name_in_the_base_is_that_of_the_base():
    model = adapted()
    base = dict(model.get_base_model().named_modules())
    for name, layer in peft_internals.lora_layers(model):
        assert base[peft_internals.name_in_base(name)] is layer


def test_a_rank_pattern_matches_as_ours_does():
    from anima_exp.model.target_modules import is_named

    patterns = {"(q|k)_proj": 2, ".*layers.1.self_attn.*": 3}
    model = adapted(target_modules=["q_proj", "k_proj", "v_proj"], rank_pattern=patterns)
    for name, layer in peft_internals.lora_layers(model):
        wanted = (rank for one, rank in patterns.items() if is_named(name, one))
        assert layer.r["default"] == next(wanted, 4)


def test_the_names_of_wrapped_modules_lead_back_to_those_of_the_base():
    from support.small_models import small

    base = small("mixtral")
    names = {name for name, _ in base.named_parameters()}
    settings = LoraConfig(
        r=2,
        target_modules=["q_proj"],
        modules_to_save=["embed_tokens"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    )
    model = get_peft_model(base, settings)
    of_base = [n for n, _ in model.named_parameters() if not peft_internals.belongs_to_adapter(n)]
    assert {peft_internals.name_in_base(name) for name in of_base} == names
    copies = [name for name in of_base if peft_internals.is_trained_copy(name)]
    assert copies == ["base_model.model.model.embed_tokens.modules_to_save.default.weight"]
    places = {
        peft_internals.adapted_place(peft_internals.name_in_base(name), layer)
        for name, layer in peft_internals.lora_layers(model)
    }
    assert places == {
        f"model.layers.{n}.{one}"
        for n in (0, 1)
        for one in ("self_attn.q_proj", "mlp.experts.gate_up_proj", "mlp.experts.down_proj")
    }
    of_adapter = {
        peft_internals.name_in_base(n) for n, _ in model.named_parameters() if "lora_" in n
    }
    assert of_adapter == {
        f"model.layers.{n}.{one}" for n in (0, 1) for one in ("self_attn.q_proj", "mlp.experts")
    }
