"""One run from its config to its record: data, model, training, evaluation. Read this second."""

import os
from dataclasses import asdict
from datetime import UTC, datetime

from anima_exp import paths
from anima_exp.checks import check_length
from anima_exp.config import DataConfig, RunConfig, TargetModules
from anima_exp.data import recipes, source, templates
from anima_exp.errors import AnimaError, ConfigError, Stopped
from anima_exp.lookup import function
from anima_exp.quiet import quiet_libraries
from anima_exp.results import identity, provenance, screen
from anima_exp.results.folder import RunFolder
from anima_exp.results.journal import Journal
from anima_exp.results.record import Record
from anima_exp.results.tracking import Tracker


def run(config: RunConfig) -> float | None:
    """Train and evaluate what `config` says, or go on where it stopped, or say that it is done.

    Returns:
        The held-out loss after training, for a sweeper to minimise; None without held-out rows.

    Raises:
        AnimaError: a user's mistake, or a stop on request. The folder says why in failure.txt.
    """
    check_length(config)
    check_one_process()
    check_data(config.data)
    with RunFolder(config) as folder:
        if folder.done:
            record = Record.load(folder.path)
            screen.say(f"Already done, nothing to do: {folder.path}")
            screen.show_scores(record.scores_before, record.scores)
            return record.scores.get("heldout_loss")
        try:
            return _run(config, folder).scores.get("heldout_loss")
        except Stopped:
            raise
        except AnimaError as error:
            folder.failed(str(error))
            raise
        except Exception as error:
            folder.failed(f"{type(error).__name__}: {error}")
            raise


def _run(config: RunConfig, folder: RunFolder) -> Record:
    quiet_libraries()
    # Imported here: torch and transformers take ten seconds, which a done run need not wait.
    from transformers import set_seed

    from anima_exp.data.prepare import prepare
    from anima_exp.evals.measure import measure
    from anima_exp.model.adapter import attach
    from anima_exp.model.base import check_context, load_base
    from anima_exp.model.parameters import count
    from anima_exp.model.save import save
    from anima_exp.model.tokenizer import load_tokenizer, location
    from anima_exp.plan import Plan, show
    from anima_exp.training import checkpoint
    from anima_exp.training.order import row_order
    from anima_exp.training.stop import StopOnSignal
    from anima_exp.training.trainer import QLoraTrainer

    set_seed(config.seed)  # before the adapter draws its first numbers
    tokenizer = load_tokenizer(config.model)
    data = prepare(config.data, tokenizer, cache=paths.cache(config.cache))
    steps = total_steps(config, len(data.train))
    full = config.lora.target_modules is TargetModules.none
    base = load_base(config.model, config.quant, precision=config.trainer.precision, trainable=full)
    check_context(base, data.train.lengths.max())
    base_print = provenance.base_fingerprint(location(config.model.source), base.config)
    model = attach(base, config.lora)
    parameters = count(model)

    resume = checkpoint.newest(folder.checkpoints)
    resumed_at = checkpoint.step(resume) if resume else None
    show(Plan(config, folder.path, data, parameters, model, steps, resumed_at))
    starts = folder.count_start()
    tracker = Tracker(config, folder.path)
    journal = Journal(folder.path, tracker=tracker, steps=steps, resumed_at=resumed_at)

    def evaluate(step: int) -> None:
        found = measure(model, tokenizer, data.heldout, config)
        journal.evaluated(step, found.scores, found.generations, found.seconds)

    stop = StopOnSignal()
    trainer = QLoraTrainer(
        model=model,
        tokenizer=tokenizer,
        rows=data.train,
        order=row_order(
            data.train.lengths,
            rows=steps * config.trainer.batch_size,
            batch_size=config.trainer.batch_size,
            seed=config.seed,
            group_by_length=config.trainer.group_by_length,
        ),
        config=config,
        folder=folder.checkpoints,
        log=journal.trained,
        evaluate=evaluate,
        callbacks=[stop],
    )
    if config.trainer.eval_at_start and not resume:
        evaluate(0)
    try:
        with stop:
            trainer.train_from(resume)
    except BaseException:
        tracker.finish(failed=True)
        raise
    finally:
        journal.close()
    if stop.received and trainer.state.global_step < steps:
        tracker.finish()
        raise Stopped(
            f"Stopped by {stop.received.name} at step {trainer.state.global_step} of {steps}; "
            f"the same command goes on from there: {folder.path}",
            exit_status=128 + stop.received,
        )

    evaluate(steps)
    save(model, tokenizer, folder.path / ("model" if full else "adapter"))
    scores = journal.scores(steps)
    tracker.finish(scores)
    record = Record(
        name=identity.name(config),
        settings=identity.flatten(config),
        scores=scores,
        scores_before=journal.scores(0),
        steps=steps,
        tokens=trainer.meter.total_tokens,
        rows=asdict(data.counts),
        parameters={"trainable": parameters.trainable, "total": parameters.total},
        train_seconds=trainer.meter.train_seconds,
        eval_seconds=journal.eval_seconds,
        peak_memory_gib=provenance.peak_memory_gib(),
        starts=starts,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint=data.fingerprint,
        base_fingerprint=base_print,
        versions=provenance.versions(),
        git=provenance.git_state(),
        hardware=provenance.hardware(),
        wandb=tracker.note,
    )
    record.save(folder.path)
    _summary(record, journal, folder, full=full)
    return record


def check_data(data: DataConfig) -> None:
    """Raise for a recipe, template or file that is not there, before torch is imported."""
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


def total_steps(config: RunConfig, rows: int) -> int:
    """Optimizer steps of the whole run; the last pass of `trainer.epochs` may end mid-batch."""
    if config.trainer.steps is not None:
        return config.trainer.steps
    assert config.trainer.epochs is not None
    return max(1, round(config.trainer.epochs * rows / config.trainer.batch_size))


def _summary(record: Record, journal: Journal, folder: RunFolder, *, full: bool) -> None:
    screen.say("")
    screen.show_scores(record.scores_before, record.scores)
    screen.show_answers(journal.answers(0), journal.answers(record.steps))
    trained = "model" if full else "adapter"
    training, measuring = map(screen.duration, (record.train_seconds, record.eval_seconds))
    screen.say(
        f"\n{record.steps} steps, {record.tokens:,} tokens in {training} (and {measuring} of "
        f"evaluation), peak memory {record.peak_memory_gib:.1f} GiB"
    )
    screen.say(f"run     {folder.path}")
    screen.say(f"{trained:<7} {folder.path / trained}")
    if record.wandb:
        screen.say(f"track   {record.wandb}")
    screen.say("next    the same command with -m seed=1,2,3 shows how much of this is chance")
    if record.settings["model.source"] == "tiny":
        screen.say("        python -m anima_exp.train -m sweep=tiny_learning_rate")
