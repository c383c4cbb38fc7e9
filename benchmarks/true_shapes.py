"""LLaMA's sizes with random weights, built in NF4 on their device; synthetic rows; FLOPs.

A block at a time is drawn in 16 bits and quantized, so that 65B fits where its 4 bits do.
"""

from pathlib import Path

import numpy as np
import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from anima_exp.data.encode import TruncationLimits
from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.token_cache import Meta, Tokens
from anima_exp.model.base import keep_cpu_4bit_trainable

VOCABULARY = 32_000
# hidden size, feed-forward size, blocks, heads
SHAPES = {
    "small": (64, 192, 2, 4),  # to try the benchmark itself on a CPU
    "7b": (4096, 11008, 32, 32),
    "13b": (5120, 13824, 40, 40),
    "33b": (6656, 17920, 60, 52),
    "65b": (8192, 22016, 80, 64),
}
# Dense bf16 TFLOP/s as the makers publish them; a substring of torch's device name.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "4090": 165}


def llama_config(shape):
    hidden, feed_forward, blocks, heads = SHAPES[shape]
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=feed_forward,
        num_hidden_layers=blocks, num_attention_heads=heads, max_position_embeddings=2048,
        attn_implementation="sdpa", use_cache=False,
    )  # fmt: skip


def random_base(shape, *, device, dtype):
    """Return a LLaMA of one of SHAPES; see quantized_model."""
    config = llama_config(shape)
    return quantized_model(
        config, LlamaForCausalLM, LlamaDecoderLayer, device=device, dtype=dtype
    )  # fmt: skip


def quantized_model(config, model_class, block_class, *, device, dtype):
    """Return a model as load_base does: frozen, the linear layers of its blocks in NF4."""
    torch.manual_seed(0)
    blocks, config.num_hidden_layers = config.num_hidden_layers, 0
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = model_class(config)
            for index in range(blocks):
                block = block_class(config, index)
                quantize(block, device=device, dtype=dtype)
                model.model.layers.append(block)
    finally:
        torch.set_default_dtype(before)
    config.num_hidden_layers = blocks
    model.is_loaded_in_4bit = True  # as transformers marks it, for PEFT
    model.requires_grad_(False)
    keep_cpu_4bit_trainable(model)
    return model


def quantize(block, *, device, dtype):
    for name, linear in list(block.named_modules()):
        if not isinstance(linear, torch.nn.Linear):
            continue
        holder = block.get_submodule(name.rpartition(".")[0])
        small = Linear4bit(
            linear.in_features, linear.out_features, bias=False, compute_dtype=dtype,
            quant_type="nf4", device="meta",
        )  # fmt: skip
        weight = Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", module=small
        )  # fmt: skip
        small.weight = weight.to(device)  # here it is quantized
        setattr(holder, name.rpartition(".")[2], small)


def synthetic_rows(lengths, count, *, label_share=0.4):
    """Random token ids; `lengths` is "alpaca" (mean about 150, long-tailed) or tokens a row."""
    dice = np.random.default_rng(0)
    if lengths == "alpaca":
        drawn = dice.lognormal(np.log(150) - 0.125, 0.5, count).clip(40, 512).astype(np.int64)
    else:
        drawn = np.full(count, int(lengths))
    tokens = Tokens(
        folder=Path("synthetic"),
        ids=dice.integers(3, VOCABULARY, drawn.sum(), dtype=np.int32),
        starts=np.concatenate([[0], np.cumsum(drawn)]),
        prompts=(drawn * (1 - label_share)).astype(np.int32),
        rows=np.arange(count),
        meta=Meta(read=count),
    )
    return TokenizedDataset(
        tokens, np.arange(count), TruncationLimits(max_prompt=2048, max_response=2048)
    )


def flops(shape, *, lora_parameters, lengths, label_counts):
    """Of one training pass over these rows, whatever the hardware computes twice.

    A frozen weight costs 2 forward and 2 for the gradient of its input; one that learns 2 more.
    Attention is causal: the token at position t looks at t others. The head is needed where there
    is a label only.
    """
    hidden, feed_forward, blocks, _ = SHAPES[shape]
    tokens = float(np.sum(lengths, dtype=np.float64))
    squares = float(np.sum(np.square(lengths, dtype=np.float64)))
    linear = blocks * (4 * hidden**2 + 3 * hidden * feed_forward)
    attention = blocks * 6 * hidden * squares  # (QK and AV) x (forward 1, backward 2) x half
    head = 4 * hidden * VOCABULARY * float(np.sum(label_counts, dtype=np.float64))
    return (4 * linear + 6 * lora_parameters) * tokens + attention + head


def peak_tflops(name):
    """Of the card of this name, or None for one that is not listed."""
    return next((peak for card, peak in PEAKS.items() if card in name), None)
