"""Random models of a few families, small enough for a test."""

import torch

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
    if family in ("granite", "falcon_h1", "lfm2"):
        shape.pop("head_dim")  # it divides
    config = getattr(transformers, f"{CONFIGS[family]}Config")(**shape | settings)
    attention = "eager" if family == "gemma2" else "sdpa"
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
}


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
