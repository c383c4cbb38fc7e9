"""In: a recipe and a tokenizer; out: the tiny LLaMA model at its start, and how it is saved."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from anima_exp.tiny.pretrain.corpus import MIX


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
    initialize(model, recipe.layers)
    return model


def initialize(model: LlamaForCausalLM, layers: int) -> None:
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


# In: a base's recipe, measured scores and seconds; out: the README that tells how it was made.


LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Scores:
    """Shares from 0 to 1 by language; `tasks` also by kind."""

    tasks: Mapping[str, Mapping[str, float]]
    choices: Mapping[str, float]
    bare_choices: Mapping[str, float]
    tested: int


def write_model_card(
    path: Path, recipe: Recipe, scores: Scores, seconds: float, parameters: int
) -> None:
    english, chinese = scores.tasks["en"], scores.tasks["zh"]
    lines = [
        "# A tiny base model",
        "",
        f"A LLaMA-architecture model of {parameters:,} parameters, trained from scratch on tasks",
        "of a small generated world (`anima_exp.tiny.world`). It answers them in English and has",
        "seen a little Chinese, none of it an answered task: something for fine-tuning to teach.",
        "Weights are float16.",
        "",
        "## How it was made",
        "",
        f"    python -m anima_exp.tiny.pretrain --steps {recipe.steps} --seed {recipe.seed}",
        "",
        f"{seconds:.0f} seconds with "
        + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        + ".",
        "Muon (AdamW for embedding and norms), linear warm-up, cosine. The loss is on the response",
        "only (plain text counts whole); prompt and response are tokenized apart, in Guanaco's",
        "format.",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in asdict(recipe).items()),
        "",
        "| share of rows | |",
        "| --- | --- |",
        *(f"| {source} | {share:.1%} |" for source, share in MIX.items()),
        "",
        "## Measured",
        "",
        f"Greedy exact match on {scores.tested} test tasks a language; no test task has operands",
        "seen in training, in any language or phrasing.",
        "",
        "| kind | English | Chinese |",
        "| --- | --- | --- |",
        *(f"| {kind} | {english[kind]:.1%} | {chinese[kind]:.1%} |" for kind in english),
        "",
        f"Multiple choice, {scores.tested} test questions a language (chance is 25 %):",
        "",
        "| form | English | Chinese |",
        "| --- | --- | --- |",
        f"| in Guanaco's prompt | {scores.choices['en']:.1%} | {scores.choices['zh']:.1%} |",
        f"| bare | {scores.bare_choices['en']:.1%} | {scores.bare_choices['zh']:.1%} |",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
