"""Bases of true sizes with random weights in NF4, whose steps are counted."""

import sys
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from true_shapes import quantized_model


def _llama(hidden, feed_forward, blocks, heads):
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        max_position_embeddings=2048,
        attn_implementation="sdpa",
        use_cache=False,
    )
    return config, LlamaForCausalLM, LlamaDecoderLayer


def _qwen3_8b():
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=4096,
        intermediate_size=12_288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
        use_cache=False,
    )
    return config, Qwen3ForCausalLM, Qwen3DecoderLayer


MODELS = {
    "7B": lambda: _llama(4096, 11_008, 32, 32),
    "33B": lambda: _llama(6656, 17_920, 60, 52),
    "Qwen3-8B": _qwen3_8b,
}


def random_base(name, *, device, dtype):
    """Return the base as load_base does: frozen, the linear layers of its blocks in NF4."""
    config, model_class, block_class = MODELS[name]()
    return quantized_model(config, model_class, block_class, device=device, dtype=dtype)
