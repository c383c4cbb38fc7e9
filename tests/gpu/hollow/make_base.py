"""Write small bases with random weights: BASE, and next to it BASE-experts and BASE-hybrid.

The first has grouped queries and normalized heads, 130 MB in 16 bits. The second is a mixture of
experts, and the third has convolutions over tokens.
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Lfm2Config, Qwen3Config, Qwen3MoeConfig

from anima_exp.system.paths import tiny_base

SHAPE = {
    "vocab_size": 32_000, "hidden_size": 1024, "intermediate_size": 2048, "num_hidden_layers": 2,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128,
    "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip
EXPERTS = {
    **SHAPE, "hidden_size": 256, "head_dim": 32, "num_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
}  # fmt: skip
HYBRID = {
    **SHAPE, "hidden_size": 256, "intermediate_size": 512, "head_dim": 32,
    "layer_types": ["conv", "full_attention"],
}  # fmt: skip


def write(folder, config):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_base() / name, folder / name)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Qwen3Config(**SHAPE))
    write(Path(f"{sys.argv[1]}-experts"), Qwen3MoeConfig(**EXPERTS))
    write(Path(f"{sys.argv[1]}-hybrid"), Lfm2Config(**HYBRID))
