"""In: a recipe and a tokenizer; out: the tiny LLaMA model at its start, and how it is saved."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Recipe:
    """Every dimension a multiple of 64, the block size of NF4."""

    steps: int = 6000
    rows_per_step: int = 64
    muon_learning_rate: float = 0.015
    adamw_learning_rate: float = 4e-3
    warmup_steps: int = 50
    seed: int = 0
    hidden_size: int = 128
    intermediate_size: int = 320
    layers: int = 5
    heads: int = 4
    tested_tasks: int = 1000


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    initialise(model, recipe.layers)
    return model


def initialise(model: LlamaForCausalLM, layers: int) -> None:
    """Variance kept by width: LLaMA's usual 0.02 is far too small for so narrow a model."""
    for name, weight in model.named_parameters():
        if name == "model.embed_tokens.weight":
            torch.nn.init.normal_(weight, std=0.06)
        elif weight.ndim > 1:
            writes_to_residual = "o_proj" in name or "down_proj" in name
            scale = (2 * layers) ** -0.5 if writes_to_residual else 1.0
            torch.nn.init.normal_(weight, std=scale * weight.shape[1] ** -0.5)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """In half precision, which leaves the model itself as it is."""
    halves = {name: weight.to(torch.float16) for name, weight in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=halves)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "float16"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save_pretrained(folder)
