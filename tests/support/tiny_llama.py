"""A LLaMA of two blocks with random weights, in memory at once."""


def tiny_llama(**settings):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {
        "vocab_size": 31,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32,
        "attn_implementation": "sdpa",
    }
    return LlamaForCausalLM(LlamaConfig(**shape | settings)).eval()
