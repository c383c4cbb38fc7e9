"""Random models of a few families, small enough for a test."""

import torch

from anima_exp.config import Attention
from anima_exp.model.base_config import attention_of

VOCABULARY = 97


def small(family="llama", **settings):
    import transformers

    torch.manual_seed(0)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.2,  # rows of large logits, so that a mistake shows
    }
    if family == "gpt2":
        shape = {"vocab_size": VOCABULARY, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
    shape = shape | OTHERS.get(family, {})
    if family in UNLIKE:
        shape = {"vocab_size": VOCABULARY} | UNLIKE[family]
    if family in ("granite", "falcon_h1", "lfm2", "qwen2_moe"):
        shape.pop("head_dim")  # it divides
    config = getattr(transformers, f"{CONFIGS[family]}Config")(**shape | settings)
    attention = attention_of(config, Attention.sdpa).value
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    model.requires_grad_(False)
    return model


CONFIGS = {
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen3": "Qwen3",
    "gemma2": "Gemma2",
    "granite": "Granite",
    "gpt2": "GPT2",
    "falcon_h1": "FalconH1",
    "lfm2": "Lfm2",
    "nemotron": "Nemotron",
    "llama4": "Llama4Text",
    "mixtral": "Mixtral",
    "qwen2_moe": "Qwen2Moe",
    "qwen3_moe": "Qwen3Moe",
    "olmoe": "Olmoe",
    "glm4_moe": "Glm4Moe",
    "gpt_oss": "GptOss",
    "deepseek_v3": "DeepseekV3",
    "mamba2": "Mamba2",
    "mpt": "Mpt",
    "opt": "OPT",
    "falcon": "Falcon",
    "rwkv": "Rwkv",
    "starcoder2": "Starcoder2",
}
# Settings of families beside those that most share.
OTHERS = {
    "llama4": {"num_local_experts": 4, "intermediate_size_mlp": 96, "attention_chunk_size": 16},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
        "norm_topk_prob": True,
    },
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "glm4_moe": {
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
        "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
    },
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
    "deepseek_v3": {
        "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
        "moe_intermediate_size": 64, "q_lora_rank": 32, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 1, "head_dim": 8,
        "num_experts_per_tok": 2,
    },
}  # fmt: skip
# Families that name their settings otherwise.
UNLIKE = {
    "mamba2": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 16,
        "state_size": 16, "n_groups": 1,
    },
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
    "opt": {
        "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 128, "word_embed_proj_dim": 64, "pad_token_id": 0,
        "init_std": 0.2,
    },
    "falcon": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "bias": False,
        "multi_query": True, "parallel_attn": True, "alibi": False,
    },
    "rwkv": {"hidden_size": 64, "num_hidden_layers": 2, "context_length": 128},
}  # fmt: skip


def some_rows(lengths=(9, 23, 5, 14), prompt=3, seed=0):
    """Token ids and labels; the first `prompt` tokens of each row have none."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(3, VOCABULARY, (length,), generator=generator)
        labels = ids.clone()
        labels[:prompt] = -100
        rows.append({"input_ids": ids.numpy(), "labels": labels.numpy()})
    return rows
