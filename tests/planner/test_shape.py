"""A shape is the same from config.json and from the model, and that of the published models."""

import json

import pytest

from anima_exp.cli.error_messages import choices
from anima_exp.errors import ModelError
from anima_exp.planner.adapted import adapted_layers
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.shape import from_config, from_model

SMALL = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 200,
    "vocab_size": 321,
    "max_position_embeddings": 64,
}


def meta_model(**config):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "family",
    [
        {"model_type": "llama"},
        {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
        {"model_type": "mistral"},
        {"model_type": "qwen2"},
        {"model_type": "qwen3", "head_dim": 32},
    ],
    ids=lambda family: "-".join(map(str, family.values())),
)
def test_the_config_and_the_model_give_the_same_shape(family, tied):
    config = SMALL | family | {"tie_word_embeddings": tied}
    model = meta_model(**config)
    assert from_config(config) == from_model(model)
    assert from_model(model).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 99},
        {"model_type": "gpt_neox", **SMALL},
        {"model_type": "olmo2", **SMALL},
    ],
    ids=lambda config: config["model_type"],
)
def test_every_parameter_of_another_family_is_counted(config):
    model = meta_model(**config)
    assert from_model(model).parameters == sum(p.numel() for p in model.parameters())


PUBLISHED = {  # parameters, as the hub counts them
    "llama7b": 6_738_415_616,
    "llama13b": 13_015_864_320,
    "llama33b": 32_528_943_616,
    "llama65b": 65_285_660_672,
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama3_1_8b": 8_030_261_248,
    "llama3_2_1b": 1_235_814_400,
    "mistral_7b": 7_248_023_552,
    "qwen3_0_6b": 596_049_920,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "qwen3_14b": 14_768_307_200,
    "smollm2_135m": 134_515_008,
    "smollm2_1_7b": 1_711_376_384,
    "guanaco7b": 6_738_415_616,
    "guanaco13b": 13_015_864_320,
    "guanaco33b": 32_528_943_616,
    "guanaco65b": 65_285_660_672,
    "anima33b": 32_528_943_616,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_32b": 32_762_123_264,
    "qwen3_30b_a3b": 30_532_122_624,
    "qwen3_235b_a22b": 235_093_634_560,
    "llama3_1_70b": 70_553_706_496,
    "llama3_3_70b": 70_553_706_496,
    "llama3_2_3b": 3_212_749_824,
    "gemma3_1b": 999_885_952,
    # Gemma 3 of 4B and more without its vision tower of 0.4 B.
    "gemma3_4b": 3_880_263_168,
    "gemma3_12b": 11_766_034_176,
    "gemma3_27b": 27_009_346_304,
    "phi4": 14_659_507_200,
    "olmo2_7b": 7_298_617_344,
    "olmo2_13b": 13_716_198_400,
    "olmo2_32b": 32_234_279_936,
    "mistral_small_24b": 23_572_403_200,
    "gpt_oss_20b": 20_914_757_184,
}


def test_every_model_that_is_not_local_has_its_published_size(compose):
    assert {*PUBLISHED, "tiny", "local"} == set(choices("model"))
    for name, parameters in PUBLISHED.items():
        assert find_shape(compose(f"model={name}").model).parameters == parameters, name


@pytest.mark.parametrize(
    ("name", "active"), [("qwen3_30b_a3b", 3.3), ("qwen3_235b_a22b", 22.0), ("gpt_oss_20b", 3.6)]
)
def test_a_token_passes_through_the_published_part_of_a_mixture(compose, name, active):
    """Billions of parameters as its author names them; some leave out the embeddings."""
    shape = find_shape(compose(f"model={name}").model)
    outside = shape.parameters - shape.expert_weights
    assert 0 < shape.active_experts < shape.expert_weights / 4
    without = outside - shape.embeddings - shape.head
    low, high = (one + shape.active_experts for one in (without, outside))
    assert 0.93 * low < active * 1e9 < 1.07 * high


LORA = {"7b": 159_907_840, "13b": 250_347_520, "33b": 487_587_840, "65b": 799_539_200}


@pytest.mark.parametrize("size", LORA)
def test_rank_64_gives_the_lora_parameters_that_qlora_printed(compose, size):
    config = compose(f"model=llama{size}")
    adapted = adapted_layers(find_shape(config.model), config.lora)
    found = sum(rank * (one.inputs + one.outputs) * count for one, rank, count in adapted)
    assert found == LORA[size]


def test_a_local_folder_is_read(compose, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"model_type": "llama"}))
    model = compose("model=local", f"model.source={tmp_path}").model
    assert find_shape(model).hidden == 96


def test_a_folder_wins_over_the_shape_of_the_name(compose, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"model_type": "llama"}))
    assert find_shape(compose("model=llama7b", f"model.source={tmp_path}").model).hidden == 96


def test_the_embedded_base_is_read_from_the_package(compose):
    assert find_shape(compose().model).parameters == 1_074_560


def test_a_folder_without_config_is_one_line(compose, tmp_path):
    model = compose("model=local", f"model.source={tmp_path}").model
    with pytest.raises(ModelError, match=r"its config\.json cannot be read") as told:
        find_shape(model)
    assert "\n" not in str(told.value)


def test_a_model_of_the_hub_without_a_network_is_one_line(compose):
    model = compose("model=local", "model.source=nobody/nothing").model
    with pytest.raises(ModelError, match="no such folder, and HF_HUB_OFFLINE is set") as told:
        find_shape(model)
    assert "\n" not in str(told.value)


def test_a_key_that_is_missing_is_named():
    with pytest.raises(ModelError, match="hidden_size"):
        from_config({"model_type": "llama"})
