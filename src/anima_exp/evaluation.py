"""A model that is there -> its scores, with intervals, in the terminal and in a file."""

import hashlib
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from anima_exp import paths, schema_version
from anima_exp.config import EvaluateConfig
from anima_exp.data import formats
from anima_exp.errors import ConfigError
from anima_exp.evals.choice.benchmark import MACRO, MICRO
from anima_exp.evals.choice.export import export
from anima_exp.evals.measure import Evals, Measured, check_positions, measure, prepare_evals
from anima_exp.finished import load, name, record, run_of
from anima_exp.parallel.join import joined
from anima_exp.parallel.place import place
from anima_exp.parallel.world import World
from anima_exp.paths import expanded
from anima_exp.quiet import quiet_libraries
from anima_exp.results import identity, provenance, screen
from anima_exp.results.files import asked_for, write_json
from anima_exp.terminal import visible

_MEANS = {MACRO: "mean over subjects", MICRO: "mean over questions"}


def run(config: EvaluateConfig) -> None:
    """Measure, show, and keep the result where `compare` finds it.

    With `prompts=FOLDER` only the prompts of the benchmarks are written, and no model is loaded.
    Under torchrun every process measures a share.

    Raises:
        AnimaError: a user's mistake.
    """
    with joined(place()) as world:
        if not world.leads:
            screen.be_silent()
        world.agree(identity.flatten(config))
        _run(config, world)


def _run(config: EvaluateConfig, world: World) -> None:
    from anima_exp.data.prepare import prepare
    from anima_exp.model import lora_update
    from anima_exp.model.tokenizer import load_tokenizer

    _refuse(config)
    formats.template(config.data.prompt_template)
    quiet_libraries()
    heldout: Any = ()
    tokenizer = load_tokenizer(config.model)
    on = config.evals
    if on.heldout or on.custom or (on.exact_match and config.data.exact_answers):
        cache = paths.cache(config.cache)
        heldout = world.in_turn(lambda: prepare(config.data, tokenizer, cache=cache)).heldout
    evals = world.in_turn(lambda: prepare_evals(config, tokenizer, heldout))
    if config.prompts:
        world.share(lambda: _export(evals, expanded(str(config.prompts), "prompts")))
        return
    screen.show_plan(_plan(config, evals))
    model, _ = world.in_turn(lambda: load(config))
    if config.run or (config.adapter and run_of(config.adapter)):
        # As in training, whose forward pass rounds bf16 in other places than PEFT's own.
        lora_update.use(model)
    check_positions(model, evals)
    found = measure(model, evals, world)
    if world.leads:
        _tell(config, found)


def _tell(config: EvaluateConfig, found: Measured) -> None:
    for benchmark, accuracy in found.accuracies.items():
        _show(benchmark, accuracy.rows(), config.subjects)
    screen.show_scores(None, found.scores, found.metrics)
    screen.show_answers([], found.generations, at_most=len(found.generations))
    place = _place(config)
    with asked_for(place, way_out="Make room, or make its folder writable."):
        write_json(place, schema_version.stamp(_result(config, found), schema_version.EVALUATION))
    screen.say(f"\n{screen.duration(found.seconds)}; kept in {place}")


def _refuse(config: EvaluateConfig) -> None:
    evals = config.evals
    if evals.answers:
        raise ConfigError(
            "evals=[answers] belongs to a run. Ask a finished model with "
            "python -m anima_exp.generate run=... questions=..."
        )
    chosen = [field.name for field in fields(evals) if getattr(evals, field.name)]
    if chosen == ["exact_match"] and not config.data.exact_answers:
        raise ConfigError(
            f"evals=[exact_match] measures nothing: the answers of data={config.data.name} are "
            "not of the kind of which one is right (data.exact_answers)."
        )
    if not chosen:
        raise ConfigError("evals=[] measures nothing. Choose some, as evals=[heldout,mmlu].")


def _export(evals: Evals, folder: Path) -> None:
    if not evals.benchmarks:
        raise ConfigError(f"prompts={folder} writes those of benchmarks: add evals=[mmlu].")
    for benchmark, ready in evals.benchmarks.items():
        file = folder / f"{benchmark}_{ready.config.split}_{ready.config.shots}_shots.jsonl"
        export(ready, file)
        screen.say(f"{len(ready.asked):,} prompts in {file}")
        _say_dropped(benchmark, evals)


def _say_dropped(benchmark: str, evals: Evals) -> None:
    ready = evals.benchmarks[benchmark]
    for shots in range(ready.config.shots - 1, -1, -1):
        if count := sum(one.shots == shots for one in ready.asked):
            screen.say(f"{count:,} of them have room for {shots} examples only")


def _plan(config: EvaluateConfig, evals: Evals) -> dict[str, str]:
    told = {"model": f"{name(config)}, {config.model.source} in {config.quant.type.value}"}
    if len(evals.heldout):
        told["heldout"] = f"{len(evals.heldout):,} rows of {config.data.name}"
    for benchmark, ready in evals.benchmarks.items():
        fewer = ready.without_some_examples
        told[benchmark] = f"{len(ready.asked):,} questions, {ready.config.shots} examples each" + (
            f"; {fewer:,} have room for fewer" if fewer else ""
        )
    return told


def _show(benchmark: str, rows: list[dict[str, Any]], subjects: bool) -> None:
    table = Table(
        benchmark, "right", "95 % interval", "questions",
        box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    for column in (1, 3):
        table.columns[column].justify = "right"
    for row in rows:
        if row["of"] == "subject" and not subjects:
            continue
        table.add_row(
            Text(visible(_MEANS.get(row["name"], row["name"]))),
            f"{100 * row['mean']:.1f} %",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %",
            f"{row['asked']:,}",
            style="bold" if row["name"] == MACRO else "",
        )
    screen.console.print(table)
    screen.say("")


def _place(config: EvaluateConfig) -> Path:
    """In the run's folder, or among the runs; named by what was measured how."""
    settings = {
        key: value
        for key, value in identity.relevant(config).items()
        if key.startswith(("evals.", "quant.", "model.", "data.", "trainer.precision"))
        or key in ("run", "adapter")
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    home = Path(config.run) if config.run else expanded(config.runs, "runs")
    return home / "evaluations" / f"{name(config)}-{digest}.json"


def _result(config: EvaluateConfig, found: Measured) -> dict[str, Any]:
    return {
        "model": name(config),
        "trained": record(Path(config.run)).finished if config.run else None,
        "settings": identity.flatten(config),
        "scores": found.scores,
        "metrics": found.metrics,
        "accuracies": found.rows(),
        "generations": [
            {"prompt": question, "response": answer} for question, answer in found.generations
        ],
        "seconds": found.seconds,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
