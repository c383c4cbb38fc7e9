"""The parameter counts that QLoRA and Anima printed, on the meta device."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from anima_exp.config import LoraConfig, TargetModules
from anima_exp.model.adapter import add_lora
from anima_exp.model.linear_layers import count, linear_layers

SHAPES = {  # hidden, layers, feed-forward, heads
    "7b": (4096, 32, 11008, 32),
    "13b": (5120, 40, 13824, 40),
    "33b": (6656, 60, 17920, 52),
    "65b": (8192, 80, 22016, 64),
}


def llama(size):
    hidden, layers, feed_forward, heads = SHAPES[size]
    shape = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=feed_forward,
        num_attention_heads=heads,
        vocab_size=32_000,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(shape).requires_grad_(False)


# (LoRA parameters at rank 64; elements stored in 4 bits, adapter included, as qlora.py prints them)
PRINTED = {
    "7b": (159_907_840, 3_660_320_768),
    "13b": (250_347_520, 6_922_327_040),
    "33b": (487_587_840, 16_965_454_336),  # Guanaco 33B and Anima 33B
    "65b": (799_539_200, 33_705_172_992),
}


@pytest.mark.parametrize("size", PRINTED)
def test_the_counts_that_the_originals_printed(size):
    lora = LoraConfig(target_modules=TargetModules.all_linear, rank=64, dropout=0.1)
    model = llama(size)
    in_4_bits = sum(layer.module.weight.numel() for layer in linear_layers(model))
    with torch.device("meta"):
        counted = count(add_lora(model, lora))
    assert counted.trainable == PRINTED[size][0]
    assert counted.total - in_4_bits // 2 == PRINTED[size][1]


def test_7b_packs_into_the_bytes_that_were_printed():
    model = llama("7b")
    assert sum(layer.module.weight.numel() for layer in linear_layers(model)) // 2 == 3_238_002_688
