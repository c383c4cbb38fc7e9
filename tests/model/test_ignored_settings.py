"""A setting of a base's config that changes no logit is refused; one in force is not."""

import copy

import pytest
import torch
from support.small_models import small

from anima_exp.config import Attention, Fault
from anima_exp.errors import ModelError
from anima_exp.events import Said, listening
from anima_exp.model.base_config import attention_of
from anima_exp.model.ignored_settings import check_settings
from anima_exp.model.positions import positions_line
from anima_exp.model.varlen_attention import packing_obstacle

LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 5e5,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 1e4,
}  # fmt: skip


def model_with(family, settings):
    """Settings may be those of a released config that a family never reads."""
    return small(family, **settings).eval()


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("llama", {"rope_parameters": LINEAR}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("llama", {"rope_parameters": YARN}),
        ("llama", {"rope_parameters": {**LINEAR, "rope_type": "dynamic"}}),
        ("mistral", {"sliding_window": 4}),
        ("starcoder2", {"sliding_window": 2}),
        ("gemma2", {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}),
        ("llama4", {}),
    ],
)
def test_a_setting_in_force_is_accepted_and_left_as_it_was(family, settings):
    model = model_with(family, settings)
    ids = torch.arange(3, 15)[None]
    before = model(input_ids=ids).logits
    check_settings(model)
    assert torch.equal(before, model(input_ids=ids).logits)


@pytest.mark.parametrize(
    ("family", "settings", "named"),
    [
        ("llama", {"sliding_window": 4}, "sliding_window=4"),
        ("mistral", {"attn_logit_softcapping": 30.0}, "attn_logit_softcapping=30"),
        ("gpt2", {"rope_parameters": LINEAR}, "RoPE linear with factor 4"),
    ],
)
def test_a_setting_that_the_family_never_reads_is_refused(family, settings, named):
    model = model_with(family, settings)
    with pytest.raises(ModelError, match=named) as error:
        check_settings(model)
    assert "model.accept=[ignored_settings]" in str(error.value)
    heard = []
    with listening(heard.append):
        check_settings(model, [Fault.ignored_settings])
    assert [one.text for one in heard if isinstance(one, Said)] == [
        f"base     accepted: {named} in the config changes no logit"
    ]


@pytest.mark.parametrize("kind", ["linear", "dynamic"])
def test_a_factor_set_after_the_model_was_built_is_refused(kind):
    model = small("llama").eval()
    model.config.rope_parameters = {**LINEAR, "rope_type": kind}
    with pytest.raises(ModelError, match=f"RoPE {kind} with factor 4"):
        check_settings(model)


def test_frequencies_that_lost_their_factor_are_refused():
    model = small("llama", rope_parameters=LINEAR).eval()
    model.model.rotary_emb.inv_freq.mul_(4.0)  # as a default module has them
    with pytest.raises(ModelError, match="RoPE linear with factor 4"):
        check_settings(model)


def test_a_window_that_packed_attention_is_not_given_makes_rows_be_computed_alone():
    model = small("mistral", sliding_window=4).eval()
    for layer in model.model.layers:  # as PhiMoE, which makes a mask and passes no window
        layer.self_attn.config = copy.copy(layer.self_attn.config)
        layer.self_attn.config.sliding_window = None
    check_settings(model)
    assert packing_obstacle(model) == "its attention is not given the sliding_window"


@pytest.mark.parametrize(
    "settings",
    [
        {"sliding_window": 128},  # of a context of 128 tokens
        {"rope_parameters": {**LINEAR, "factor": 1.0}},
    ],
)
def test_a_setting_that_can_never_act_is_not_meant(settings):
    check_settings(small("llama", **settings).eval())


def test_a_window_that_no_layer_has_by_its_own_config_is_not_meant():
    check_settings(small("mistral", sliding_window=4, layer_types=["full_attention"] * 2).eval())


@pytest.mark.parametrize(
    ("family", "settings", "line"),
    [
        ("llama", {}, "RoPE default, theta 10,000, up to 128 tokens"),
        ("llama", {"rope_parameters": YARN},
         "RoPE yarn, factor 4, original context 32, theta 10,000, up to 128 tokens"),
        ("opt", {}, "learned positions, up to 128 tokens"),
        ("mpt", {}, "ALiBi, up to 128 tokens"),
        ("mamba2", {}, "no positions of its own, no limit in config.json"),
    ],
)  # fmt: skip
def test_positions_are_described(family, settings, line):
    assert positions_line(small(family, **settings)) == line


MIXTURE = {
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
}  # fmt: skip
# What config.json of published bases says about positions, windows and caps.
PUBLISHED = {
    "Qwen2.5 7B": ("Qwen2", {"max_position_embeddings": 131072, "max_window_layers": 28,
                             "sliding_window": 131072, "use_sliding_window": False}),
    "Qwen3 30B-A3B": ("Qwen3Moe", {"max_position_embeddings": 40960, "max_window_layers": 48,
                                   "sliding_window": None, "use_sliding_window": False, **MIXTURE}),
    "Llama 3.2 3B": ("Llama", {"max_position_embeddings": 131072,
                               "rope_parameters": {**LLAMA3, "factor": 32.0,
                                                   "original_max_position_embeddings": 8192}}),
    "Mistral 7B v0.1": ("Mistral", {"sliding_window": 4096, "max_position_embeddings": 32768}),
    "Phi-3 mini": ("Phi3", {"sliding_window": 2047, "max_position_embeddings": 4096,
                            "original_max_position_embeddings": 4096}),
    "Gemma 3 4B": ("Gemma3Text", {"sliding_window": 1024, "num_hidden_layers": 6,
                                  "rope_parameters": {
                                      "full_attention": {**LINEAR, "factor": 8.0},
                                      "sliding_attention": {"rope_type": "default",
                                                            "rope_theta": 1e4}}}),
    "gpt-oss 20B": ("GptOss", {"sliding_window": 128, "max_position_embeddings": 131072,
                               "rope_parameters": {**YARN, "factor": 32.0, "truncate": False,
                                                   "original_max_position_embeddings": 4096},
                               **MIXTURE}),
    "StarCoder2 3B": ("Starcoder2", {"sliding_window": 4096, "max_position_embeddings": 16384}),
    "Command R7B": ("Cohere2", {"sliding_window": 4096, "max_position_embeddings": 8192}),
}  # fmt: skip


@pytest.mark.parametrize(("family", "settings"), PUBLISHED.values(), ids=PUBLISHED)
def test_settings_of_published_bases_are_in_force(family, settings):
    import transformers

    shape = {
        "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0,
        "initializer_range": 0.2,
    }  # fmt: skip
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**shape | settings)
    attention = attention_of(config, Attention.sdpa).value
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    check_settings(model.eval())
