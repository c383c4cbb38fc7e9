"""In: a base's recipe, measured scores and seconds; out: the README that tells how it was made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from anima_exp.tiny.base_model import Recipe
from anima_exp.tiny.corpus import MIX

LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Scores:
    """Shares from 0 to 1 by language; `tasks` also by kind."""

    tasks: Mapping[str, Mapping[str, float]]
    choices: Mapping[str, float]
    bare_choices: Mapping[str, float]
    tested: int


def write_card(path: Path, recipe: Recipe, scores: Scores, seconds: float, parameters: int) -> None:
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
        "only (plain text counts whole); prompt and response are tokenised apart, in Guanaco's",
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
