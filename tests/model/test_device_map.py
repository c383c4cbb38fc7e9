"""A device map names every module once, and no decoder block is split; on the meta device."""

import pytest
import torch

from anima_exp.errors import ModelError
from anima_exp.model.device_map import meta_model, modules_of

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
}
GPT2 = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 128}
ARCHITECTURES = {
    "llama": SMALL,
    "mistral": SMALL,
    "qwen3": SMALL | {"tie_word_embeddings": True},
    "gemma3_text": SMALL,
    "mixtral": SMALL,
    "gpt2": GPT2,
    "gpt_neox": SMALL,
    "opt": SMALL | {"word_embed_proj_dim": 64, "ffn_dim": 64},
}


@pytest.fixture(scope="module")
def skeleton():
    from transformers import AutoConfig, AutoModelForCausalLM

    def _skeleton(kind):
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                AutoConfig.for_model(kind, **ARCHITECTURES[kind])
            )

    return _skeleton


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_weight_has_a_card_and_no_block_is_split(skeleton, kind):
    from accelerate.utils.modeling import check_device_map

    model = skeleton(kind)
    places = modules_of(model).on([0, 0, 1, 1])
    check_device_map(model, places)  # raises for a weight without a card
    whole = {name for name, part in model.named_modules()
             if type(part).__name__ in model._no_split_modules}  # fmt: skip
    blocks = [name for name in whole if name in places]
    assert len(blocks) == 4
    assert not [key for key in places for block in blocks if key.startswith(f"{block}.")]
    assert sorted(places[block] for block in blocks) == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_buffer_has_a_card_too(skeleton, kind):
    model = skeleton(kind)
    places = modules_of(model).on([0, 0, 1, 1])
    for name, _ in model.named_buffers():
        assert any(name.startswith(f"{key}.") for key in places), name


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt_neox"])
def test_embeddings_are_on_the_first_card_and_norm_and_head_on_the_last(skeleton, kind):
    model = skeleton(kind)
    places, names = modules_of(model).on([0, 0, 1, 2]), {m: n for n, m in model.named_modules()}
    assert places[names[model.get_input_embeddings()]] == 0
    assert places[names[model.get_output_embeddings()]] == 2
    assert next(iter(places.values())) == 0, "the first entry is accelerate's main device"
    assert [places[name] for name in places if name.endswith("norm")] == [2]


@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "opt", "gemma3_text"])
def test_a_head_that_is_the_embeddings_stays_with_them(skeleton, kind):
    model = skeleton(kind)
    places, names = modules_of(model).on([0, 0, 1, 1]), {m: n for n, m in model.named_modules()}
    assert places[names[model.get_output_embeddings()]] == 0


def test_the_model_without_weights_is_that_of_the_config(compose):
    model = meta_model(compose("model=tiny").model)
    assert {one.device.type for one in model.parameters()} == {"meta"}
    assert len(modules_of(model).blocks) == model.config.num_hidden_layers


def test_a_model_that_is_not_there_is_one_line(compose):
    gone = compose("model=local", "model.source=/no/such/folder").model
    with pytest.raises(ModelError, match="no such folder"):
        meta_model(gone)


def test_a_base_loads_by_the_map_as_it_does_without_one(compose):
    from anima_exp.model.base import load_base

    config = compose("model=tiny")
    modules = modules_of(meta_model(config.model))
    places = dict.fromkeys(modules.on([0] * len(modules.blocks)), "cpu")
    how = {"precision": config.trainer.precision}
    one, other = (
        load_base(config.model, config.quant, **how, **given)(torch.arange(9)[None]).logits
        for given in ({}, {"device_map": places})
    )
    assert torch.equal(one, other)
