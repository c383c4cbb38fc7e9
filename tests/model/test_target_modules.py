"""Layer sets by architecture: the same words mean the same layers in every family."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    Qwen3Config,
)

from anima_exp.config import LoraConfig, TargetModules
from anima_exp.errors import ModelError
from anima_exp.model.adapter import add_lora
from anima_exp.model.linear_layers import target_modules

SMALL = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=96)


def build(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def leaves(model, which):
    return {name.rpartition(".")[2] for name in target_modules(model, which)}


@pytest.fixture
def llama():
    return build(LlamaConfig(**SMALL, intermediate_size=128))


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (
            "all_linear",
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("key_query", {"q_proj", "k_proj"}),
        ("ffn", {"gate_proj", "up_proj", "down_proj"}),
        ("attention_ffn_out", {"q_proj", "k_proj", "v_proj", "o_proj", "down_proj"}),
    ],
)
def test_the_layer_sets_of_appendix_a1_on_llama(llama, which, expected):
    assert leaves(llama, TargetModules(which)) == expected


def test_a_feed_forward_as_wide_as_the_model_is_still_told_apart():
    model = build(LlamaConfig(**SMALL, intermediate_size=64))
    assert leaves(model, TargetModules.attention_ffn_out) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "down_proj",
    }  # fmt: skip


FAMILIES = {
    "qwen3": (
        Qwen3Config(**SMALL, intermediate_size=128, head_dim=16),
        {"q_proj", "k_proj", "v_proj", "o_proj"},
        {"down_proj"},
    ),
    "phi3": (
        Phi3Config(**SMALL, intermediate_size=128, pad_token_id=0),
        {"qkv_proj", "o_proj"},
        {"down_proj"},
    ),
    "gpt_neox": (
        GPTNeoXConfig(**SMALL, intermediate_size=128),
        {"query_key_value", "dense"},
        {"dense_4h_to_h"},
    ),
    "gpt2": (
        GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=96),
        {"c_attn", "c_proj"},
        {"c_proj"},
    ),
}


@pytest.mark.parametrize(("config", "attention", "ffn_out"), FAMILIES.values(), ids=FAMILIES)
def test_other_families_have_the_same_sets(config, attention, ffn_out):
    model = build(config)
    assert leaves(model, TargetModules.attention) == attention
    both = leaves(model, TargetModules.attention_ffn_out)
    assert both == attention | ffn_out


def test_the_head_is_never_adapted(llama):
    assert not any("lm_head" in name for name in target_modules(llama, TargetModules.all_linear))


def test_key_and_query_in_one_matrix_cannot_be_told_apart():
    model = build(GPTNeoXConfig(**SMALL, intermediate_size=128))
    with pytest.raises(
        ModelError, match=r"lora\.target_modules=key_query matches no layer of GPTNeoX"
    ):
        target_modules(model, TargetModules.key_query)


def test_an_adapter_reaches_only_its_layers():
    model = build(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=96))
    lora = LoraConfig(target_modules=TargetModules.attention, rank=2, dropout=0.0)
    with torch.device("meta"):
        adapted = add_lora(model, lora)
    # c_proj is the name of both the attention's and the feed-forward's output in GPT-2.
    assert not any("mlp" in name for name, p in adapted.named_parameters() if p.requires_grad)
