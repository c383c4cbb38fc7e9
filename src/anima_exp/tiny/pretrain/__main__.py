"""In: a folder to write; out: a tiny LLaMA base there, made from scratch, with its scores."""

import argparse
import math
import shutil
import time
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from anima_exp.tiny.multiple_choice import questions
from anima_exp.tiny.pretrain.base_model import Recipe, Scores, build_model, save, write_model_card
from anima_exp.tiny.pretrain.corpus import corpus
from anima_exp.tiny.pretrain.muon import Muon
from anima_exp.tiny.pretrain.packing import IGNORED, Batch, batches
from anima_exp.tiny.pretrain.scores import choice_accuracy, exact_match, unseen_tasks
from anima_exp.tiny.pretrain.tokenizer import build_tokenizer


def response_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The head runs on response tokens only: they are few, and the rest has no loss."""
    hidden = model.model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions
    ).last_hidden_state
    targets = batch.labels[:, 1:]
    counted = targets != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[:, :-1][counted]), targets[counted])


def schedule(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def build_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for the embedding and the norms."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim > 1 and "embed" not in name]
    rest = [weight for name, weight in named if weight.ndim == 1 or "embed" in name]
    return [
        Muon(matrices, lr=recipe.muon_learning_rate),
        torch.optim.AdamW(
            rest, lr=recipe.adamw_learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        ),
    ]


def train(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, draft: Path
) -> None:
    optimizers = build_optimizers(model, recipe)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    stream = batches(corpus(recipe.seed), recipe.rows_per_step, tokenizer)
    started, recent = time.perf_counter(), 0.0
    model.train()
    for step, batch in enumerate(islice(stream, recipe.steps)):
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * schedule(step, recipe)
        loss = response_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recent += loss.item()
        if (step + 1) % 100 == 0:
            seconds = time.perf_counter() - started
            print(f"step {step + 1}/{recipe.steps}  loss {recent / 100:.3f}  {seconds:.0f} s")
            recent = 0.0
        if (step + 1) % 1000 == 0:
            save(model, tokenizer, draft)
            english = score_tasks(model, tokenizer, "en", 200)
            print("English so far:", {kind: round(share, 2) for kind, share in english.items()})


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
    draft = out.with_name(f"{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens")
    train(model, tokenizer, recipe, draft)
    save(model, tokenizer, draft)
    seconds = time.perf_counter() - started
    # What is measured is what ships: read back in half precision.
    shipped = LlamaForCausalLM.from_pretrained(draft, dtype=torch.float32)
    scores = measure(shipped, tokenizer, recipe.tested_tasks)
    write_model_card(draft / "README.md", recipe, scores, seconds, model.num_parameters())
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "base")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scores = pretrain(arguments.out, Recipe(steps=arguments.steps, seed=arguments.seed))
    print(scores)


if __name__ == "__main__":
    main()
