"""Evaluate a finished model, show its scores, and save them to a file that `compare` reads."""

import hashlib
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp import events
from anima_exp.config import EvaluateConfig
from anima_exp.data import formats
from anima_exp.data.rows import TokenizedDataset
from anima_exp.display.console import duration
from anima_exp.distributed.environment import rank_info
from anima_exp.distributed.process_group import join_process_group
from anima_exp.distributed.process_state import borrowed
from anima_exp.distributed.world import ProcessGroup
from anima_exp.errors import ConfigError
from anima_exp.evals.evaluator import (
    EvalResult,
    PreparedEvals,
    check_positions,
    measure,
    prepare_evals,
)
from anima_exp.evals.multiple_choice.measure import export
from anima_exp.events import emit, following, listening, say
from anima_exp.inference.saved_model import (
    find_run_of_adapter,
    load_saved_model,
    model_label,
    record,
    use_saved_template,
)
from anima_exp.inference.saved_template import with_saved_template
from anima_exp.results import identity, provenance
from anima_exp.system import json_files, paths
from anima_exp.system.atomic import user_output, write_json
from anima_exp.system.paths import expanded


def run(config: EvaluateConfig, *, listen: events.Listener | None = None) -> dict[str, float]:
    """Evaluate a finished model, and save the result to a file that `compare` reads.

    With `export_prompts=FOLDER` only the prompts of the benchmarks are written, and no model is
    loaded. Under torchrun the processes share the work.

    Args:
        listen: receives the events; by default the current listener does (events.py).

    Returns:
        The scores; {} if only prompts are written.

    Raises:
        AnimaError: if the user made a mistake.
    """
    with (
        listening(listen),
        borrowed(),
        join_process_group(rank_info()) as world,
        following(world.is_main),
    ):
        world.assert_same_on_all_ranks(identity.flatten(config))
        return _run(config, world)


def _run(config: EvaluateConfig, world: ProcessGroup) -> dict[str, float]:
    from anima_exp.data.dataset import prepare
    from anima_exp.model.base_config import generation_stops
    from anima_exp.model.tokenizer import load_tokenizer

    _refuse(config)
    formats.for_answers(config.data.prompt_template, key="data.prompt_template")
    heldout: TokenizedDataset | tuple[()] = ()
    tokenizer, stops = load_tokenizer(config.model), generation_stops(config.model)
    if config.adapter and find_run_of_adapter(config.adapter) is None:
        use_saved_template(tokenizer, config)  # nothing else says how its rows were put
    on = config.evals
    if on.heldout or on.custom or (on.exact_match and config.data.exact_answers):
        cache = paths.cache(config.cache_dir)
        heldout = world.main_process_first(
            lambda: prepare(with_saved_template(config), tokenizer, cache=cache, stops=stops)
        ).heldout
    use_saved_template(tokenizer, config)  # the rows are put in the template of data.template
    evals = world.main_process_first(lambda: prepare_evals(config, tokenizer, heldout))
    if config.export_prompts:
        world.run_on_main(
            lambda: _export(evals, expanded(str(config.export_prompts), "export_prompts"))
        )
        return {}
    emit(events.Plan(_plan(config, evals)))
    model, _ = world.main_process_first(lambda: load_saved_model(config))
    check_positions(model, evals)
    result = measure(model, evals, world)
    if world.is_main:
        _save(config, result)
    return result.scores


def _save(config: EvaluateConfig, result: EvalResult) -> None:
    shown = (result.rows(), result.generations, config.subjects, result.metrics)
    emit(events.Measured(result.scores, *shown))
    file = _result_file(config)
    with user_output(file, way_out="Free some space, or make its folder writable."):
        write_json(file, json_files.stamp(_table(config, result), json_files.EVALUATION))
    say(f"\n{duration(result.seconds)}; saved to {file}")


def _refuse(config: EvaluateConfig) -> None:
    evals = config.evals
    if evals.answers:
        raise ConfigError(
            "evals=[answers] works only in a training run. To get the answers of a finished model, "
            "use anima-exp generate run=... questions=..."
        )
    chosen = [field.name for field in fields(evals) if getattr(evals, field.name)]
    if chosen == ["exact_match"] and not config.data.exact_answers:
        raise ConfigError(
            f"evals=[exact_match] measures nothing, because data={config.data.name} does not have "
            "exactly one right answer to each question (data.exact_answers=false). Choose another "
            "evaluation, for example evals=[heldout]."
        )
    if not chosen:
        raise ConfigError(
            "evals=[] measures nothing. Choose evaluations, for example evals=[heldout,mmlu]."
        )


def _export(evals: PreparedEvals, folder: Path) -> None:
    if not evals.benchmarks:
        raise ConfigError(
            f"export_prompts={folder} exports the prompts of benchmarks, but evals names none. "
            "Add one, for example evals=[mmlu]."
        )
    for benchmark, ready in evals.benchmarks.items():
        file = folder / f"{benchmark}_{ready.config.split}_{ready.config.shots}_shots.jsonl"
        export(ready, file)
        say(f"{len(ready.questions):,} prompts in {file}")
        _say_dropped(benchmark, evals)


def _say_dropped(benchmark: str, evals: PreparedEvals) -> None:
    ready = evals.benchmarks[benchmark]
    for shots in range(ready.config.shots - 1, -1, -1):
        if count := sum(question.shots == shots for question in ready.questions):
            say(f"{count:,} of them have room for only {shots} examples")


def _plan(config: EvaluateConfig, evals: PreparedEvals) -> dict[str, str]:
    plan = {"model": f"{model_label(config)}, {config.model.source} in {config.quant.type.value}"}
    if len(evals.heldout):
        plan["heldout"] = f"{len(evals.heldout):,} rows of {config.data.name}"
    if evals.text:
        plan["neutral text"] = f"{len(evals.text.rows):,} rows of {evals.text.name}"
    for benchmark, ready in evals.benchmarks.items():
        fewer = ready.without_some_examples
        some = f"; {fewer:,} have room for fewer" if fewer else ""
        questions = f"{len(ready.questions):,} questions"
        plan[benchmark] = f"{questions}, {ready.config.shots} examples each{some}"
    return plan


def _result_file(config: EvaluateConfig) -> Path:
    """Return the file for the result, named by the model and the settings.

    It is in the run's folder, or in the folder of all runs.
    """
    settings = {
        key: value
        for key, value in identity.identity_settings(config).items()
        if key.startswith(("evals.", "quant.", "model.", "data.", "trainer.precision"))
        or key in ("run", "adapter")
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    home = Path(config.run) if config.run else expanded(config.runs_dir, "runs_dir")
    return home / "evaluations" / f"{model_label(config)}-{digest}.json"


def _table(config: EvaluateConfig, result: EvalResult) -> dict[str, Any]:
    return {
        "model": model_label(config),
        "trained": record(Path(config.run)).finished if config.run else None,
        "settings": identity.flatten(config),
        "scores": result.scores,
        "metrics": result.metrics,
        "accuracies": result.rows(),
        "generations": [
            {"prompt": question, "response": answer} for question, answer in result.generations
        ],
        "seconds": result.seconds,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
