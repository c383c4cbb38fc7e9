"""In: a folder to write; out: a tiny LLaMA base there, made from scratch, with its scores."""

import argparse
import math
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from anima_exp.tiny.base_card import Scores, write_card
from anima_exp.tiny.corpus import Example, corpus
from anima_exp.tiny.multiple_choice import questions
from anima_exp.tiny.scores import choice_accuracy, exact_match, unseen_tasks
from anima_exp.tiny.tokenizer import build_tokenizer

IGNORED = -100
# Sorting this many batches' rows by length keeps padding low and the batches mixed.
BATCHES_SORTED_TOGETHER = 16


@dataclass(frozen=True)
class Recipe:
    """Every dimension a multiple of 64, the block size of NF4."""

    steps: int = 5000
    rows_per_step: int = 64
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    seed: int = 0
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 4
    heads: int = 6
    tested_tasks: int = 1000


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    return LlamaForCausalLM(
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


def encode(example: Example, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Ids and labels of one row; prompt and response are tokenised apart."""
    prompt = [
        int(tokenizer.bos_token_id),
        *tokenizer.encode(example.prompt, add_special_tokens=False),
    ]
    response = [
        *tokenizer.encode(example.response, add_special_tokens=False),
        int(tokenizer.eos_token_id),
    ]
    return prompt + response, [IGNORED] * len(prompt) + response


def batches(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Iterator[Batch]:
    rng = random.Random(recipe.seed)
    examples = corpus(recipe.seed)
    size = recipe.rows_per_step
    while True:
        drawn = islice(examples, size * BATCHES_SORTED_TOGETHER)
        rows = sorted((encode(row, tokenizer) for row in drawn), key=lambda row: len(row[0]))
        starts = list(range(0, len(rows), size))
        rng.shuffle(starts)
        for start in starts:
            yield pad(rows[start : start + size], int(tokenizer.pad_token_id))


def pad(rows: list[tuple[list[int], list[int]]], padding: int) -> Batch:
    longest = max(len(ids) for ids, _ in rows)
    return Batch(
        ids=torch.tensor([ids + [padding] * (longest - len(ids)) for ids, _ in rows]),
        mask=torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows]),
        labels=torch.tensor([labels + [IGNORED] * (longest - len(labels)) for _, labels in rows]),
    )


def response_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The head runs on response tokens only: they are few, and the rest has no loss."""
    hidden = model.model(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    targets = batch.labels[:, 1:]
    counted = targets != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[:, :-1][counted]), targets[counted])


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> None:
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    norms = [weight for weight in model.parameters() if weight.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": norms, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    started, recent = time.perf_counter(), 0.0
    model.train()
    for step, batch in enumerate(islice(batches(recipe, tokenizer), recipe.steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        loss = response_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent += loss.item()
        if (step + 1) % 100 == 0:
            seconds = time.perf_counter() - started
            print(f"step {step + 1}/{recipe.steps}  loss {recent / 100:.3f}  {seconds:.0f} s")
            recent = 0.0
        if (step + 1) % 1000 == 0:
            print({k: round(v, 2) for k, v in score_tasks(model, tokenizer, "en", 200).items()})


def score_tasks(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, language: str, count: int
) -> dict[str, float]:
    model.eval()
    scores = exact_match(model, tokenizer, unseen_tasks(language, count))
    model.train()
    return scores


def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, count: int) -> Scores:
    model.eval()
    languages = ("en", "zh")
    asked = {language: questions(language, count, seed=1234) for language in languages}
    return Scores(
        tasks={
            lang: exact_match(model, tokenizer, unseen_tasks(lang, count)) for lang in languages
        },
        choices={lang: choice_accuracy(model, tokenizer, asked[lang]) for lang in languages},
        bare_choices={
            lang: choice_accuracy(model, tokenizer, asked[lang], bare=True) for lang in languages
        },
        tested=count,
    )


def pretrain(out: Path, recipe: Recipe) -> Scores:
    started = time.perf_counter()
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    train(model, tokenizer, recipe)
    seconds = time.perf_counter() - started
    # What ships is what is measured: half precision, as saved.
    model.to(torch.float16).to(torch.float32)
    scores = measure(model, tokenizer, recipe.tested_tasks)
    draft = out.with_name(f"{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    model.to(torch.float16).save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    write_card(draft / "README.md", recipe, scores, seconds, model.num_parameters())
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "base")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scores = pretrain(arguments.out, Recipe(steps=arguments.steps, seed=arguments.seed))
    print(scores)


if __name__ == "__main__":
    main()
