"""One run from its config to its record: data, model, training, evaluation. Read this second."""

import os
import sys
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp.answers import of_run
from anima_exp.checks import check_length
from anima_exp.config import DataConfig, RunConfig, TargetModules
from anima_exp.data import recipes, source, templates
from anima_exp.errors import AnimaError, ConfigError, Paused, Stopped
from anima_exp.lookup import function
from anima_exp.quiet import quiet_libraries
from anima_exp.results import identity, provenance, screen
from anima_exp.results.folder import RunFolder
from anima_exp.results.journal import Journal
from anima_exp.results.record import Record
from anima_exp.results.tracking import Tracker

# torch and transformers take ten seconds to import, which a done run or a mistake need not wait
# for: whatever needs them is imported where it is used.


def run(config: RunConfig, *, until: int | None = None) -> float | None:
    """Train and evaluate what `config` says, or go on where it stopped, or say that it is done.

    Args:
        until: stop after this step, evaluated and with a checkpoint, if the run is longer.

    Returns:
        The held-out loss after training, for a sweeper to minimise; None without held-out rows.

    Raises:
        Paused: `until` was reached.
        AnimaError: a user's mistake, or a stop on request. The folder says why in failure.txt.
    """
    check_length(config)
    check_one_process()
    check_inputs(config)
    with RunFolder(config) as folder:
        if folder.done:
            record = Record.load(folder.path)
            screen.say(f"Already done, nothing to do: {folder.path}")
            screen.show_scores(record.scores_before, record.scores)
            return record.scores.get("heldout_loss")
        try:
            return _run(config, folder, until=until).scores.get("heldout_loss")
        except (Stopped, Paused):
            raise
        except AnimaError as error:
            folder.failed(str(error))
            raise
        except Exception as error:
            folder.failed(f"{type(error).__name__}: {error}")
            raise


def _run(config: RunConfig, folder: RunFolder, *, until: int | None) -> Record:
    from anima_exp.card.of_run import of_run as card_of
    from anima_exp.evals.measure import measure
    from anima_exp.load import load
    from anima_exp.overview import Overview, show
    from anima_exp.training import checkpoint
    from anima_exp.training.save import save

    quiet_libraries()
    setup = load(config)
    folder.check_inputs(
        data=setup.data.train.tokens.folder.name,  # the key of all that the token ids depend on
        base=setup.base_fingerprint,
    )
    of_run.check_prompts(config, setup)
    resume = checkpoint.newest(folder.checkpoints)
    resumed_at = checkpoint.step(resume) if resume else None
    show(Overview(config, folder.path, setup, resumed_at))
    starts = folder.count_start()
    tracker = Tracker(config, folder.path)
    journal = Journal(folder.path, tracker=tracker, steps=setup.steps, resumed_at=resumed_at)

    def evaluate(step: int) -> None:
        found = measure(setup.model, setup.evals)
        if step == setup.steps and config.evals.answers:
            same = step == resumed_at
            found = of_run.added(found, config, setup, folder.path, same_weights=same)
        accuracies = {name: one.rows() for name, one in found.accuracies.items()}
        journal.evaluated(step, found.scores, found.generations, found.seconds, accuracies)

    try:
        if config.trainer.eval_at_start and not resume:
            evaluate(0)
        meter = _train(
            config, folder, setup, journal, evaluate=evaluate, resume=resume, until=until
        )
        evaluate(setup.steps)
        record = _record(config, setup, journal, meter=meter, starts=starts)
        trained = folder.path / ("model" if trains_every_weight(config) else "adapter")
        card = card_of(record, journal, setup.model, setup.tokenizer)
        save(setup.model, setup.tokenizer, trained, card=card)
    except BaseException as error:
        journal.close()
        tracker.finish(failed=not isinstance(error, Stopped | Paused))
        raise
    tracker.finish(journal.scores(setup.steps))
    record = replace(record, wandb=tracker.note)  # W&B may have broken as it finished
    record.save(folder.path)
    screen.show_summary(
        record, trained, before=journal.answers(0), after=journal.answers(record.steps)
    )
    return record


def _train(
    config: RunConfig,
    folder: RunFolder,
    setup: Any,
    journal: Journal,
    *,
    evaluate: Any,
    resume: Path | None,
    until: int | None,
) -> Any:
    """Train to the last step; the meter says how much.

    Raises:
        Stopped: on Ctrl-C or SIGTERM.
        Paused: at `until`.
    """
    from anima_exp.training import checkpoint
    from anima_exp.training.stop import PauseAt, StopOnSignal
    from anima_exp.training.trainer import QLoraTrainer

    stop = StopOnSignal()
    resumed_at = checkpoint.step(resume) if resume else None
    trainer = QLoraTrainer(
        model=setup.model,
        tokenizer=setup.tokenizer,
        rows=setup.data.train,
        order=setup.order,
        config=config,
        keys=setup.dropout,
        token_budget=setup.execution.token_budget,
        folder=folder.checkpoints,
        log=journal.trained,
        evaluate=evaluate,
        callbacks=[stop, PauseAt(until)],
    )
    done = resumed_at or 0
    if resume and until is not None and done >= until:  # only the pause's evaluation is missing
        trainer.load_weights(resume)
    else:
        with stop:
            trainer.train_from(resume)
        done = trainer.state.global_step
    journal.close()
    if stop.received and done < setup.steps:
        raise Stopped(
            f"Stopped by {stop.received.name} at step {done} of {setup.steps}; "
            f"the same command goes on from there: {folder.path}",
            exit_status=128 + stop.received,
        )
    if done < setup.steps:
        if not journal.scores(done):
            evaluate(done)
        raise Paused(f"Paused at step {done} of {setup.steps}: {folder.path}")
    return trainer.meter


def _record(config: RunConfig, setup: Any, journal: Journal, *, meter: Any, starts: int) -> Record:
    return Record(
        name=identity.name(config),
        settings=identity.flatten(config),
        scores=journal.scores(setup.steps),
        scores_before=journal.scores(0),
        steps=setup.steps,
        tokens=meter.total_tokens,
        rows=asdict(setup.data.counts),
        parameters={"trainable": setup.parameters.trainable, "total": setup.parameters.total},
        train_seconds=meter.train_seconds,
        eval_seconds=journal.eval_seconds,
        execution={
            "token_budget": min(setup.execution.token_budget, meter.token_limit or sys.maxsize),
            "recompute": setup.execution.recompute.value,
            "keep_dequantized": setup.execution.keep_dequantized,
            "out_of_memory": meter.out_of_memory,
        },
        peak_memory_gib=provenance.peak_memory_gib(),
        predicted_memory_gib=setup.execution.predicted_peak_gib + setup.overhead_gib,
        starts=starts,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint=setup.data.fingerprint,
        base_fingerprint=setup.base_fingerprint,
        versions=provenance.versions(),
        git=provenance.git_state(),
        hardware=provenance.hardware(),
        wandb=journal.tracker.note,
    )


def check_inputs(config: RunConfig) -> None:
    """Raise for a recipe, file or question that is not there, before torch is imported."""
    _check_data(config.data)
    for name in (field.name for field in fields(config.evals)):
        place = getattr(getattr(config.evals, name), "path", None)
        if place and not Path(place).expanduser().is_dir():
            raise ConfigError(f"evals.{name}.path={place}: there is no such folder.")
    of_run.check(config)


def _check_data(data: DataConfig) -> None:
    function(data.recipe, among=recipes, key="data.recipe")
    function(data.prompt_template, among=templates, key="data.prompt_template")
    if data.path:
        source.training(data)
        source.heldout(data)


def check_one_process() -> None:
    """Raise ConfigError under torchrun and the like: each rank would train the same run."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            f"WORLD_SIZE={os.environ['WORLD_SIZE']}, but a run is one process. Start it without "
            "torchrun; model.device_map=auto spreads one model over several GPUs."
        )


def trains_every_weight(config: RunConfig) -> bool:
    return config.lora.target_modules is TargetModules.none
