"""One run from its config to its record: data, model, training, evaluation. Read this second."""

import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp import paths
from anima_exp.answers import of_run
from anima_exp.checks import check_length
from anima_exp.config import DataConfig, Quantization, Recompute, RunConfig, TargetModules
from anima_exp.data import recipes, source, templates
from anima_exp.errors import AnimaError, ConfigError, Paused, Stopped
from anima_exp.lookup import function
from anima_exp.quiet import quiet_libraries
from anima_exp.results import identity, known_lengths, provenance, screen
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


@dataclass
class Setup:
    """Everything a run has in memory before its first step."""

    tokenizer: Any
    data: Any  # data.prepare.Prepared
    evals: Any  # evals.measure.Evals
    model: Any
    dropout: Any  # model.dropout.TokenKeys
    parameters: Any  # model.parameters.Parameters
    token_budget: int
    steps: int
    base_fingerprint: str


def _run(config: RunConfig, folder: RunFolder, *, until: int | None) -> Record:
    from anima_exp.evals.measure import measure
    from anima_exp.overview import Overview, show
    from anima_exp.training import checkpoint
    from anima_exp.training.save import save

    quiet_libraries()
    setup = _load(config)
    folder.check_inputs(
        data=setup.data.train.tokens.folder.name,  # the key of all that the token ids depend on
        base=setup.base_fingerprint,
    )
    of_run.check_prompts(config, setup)
    resume = checkpoint.newest(folder.checkpoints)
    resumed_at = checkpoint.step(resume) if resume else None
    show(
        Overview(
            config,
            folder.path,
            setup.data,
            setup.evals,
            setup.parameters,
            setup.model,
            setup.steps,
            resumed_at,
        )
    )
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
        trained = folder.path / ("model" if _full(config) else "adapter")
        save(setup.model, setup.tokenizer, trained)
    except BaseException as error:
        journal.close()
        tracker.finish(failed=not isinstance(error, Stopped | Paused))
        raise
    tracker.finish(journal.scores(setup.steps))
    record = _record(config, setup, journal, meter=meter, starts=starts)
    record.save(folder.path)
    screen.show_summary(
        record, trained, before=journal.answers(0), after=journal.answers(record.steps)
    )
    return record


def _load(config: RunConfig) -> Setup:
    from transformers import set_seed

    from anima_exp.data.prepare import prepare
    from anima_exp.evals.measure import check_positions, prepare_evals
    from anima_exp.model import lora_update
    from anima_exp.model.adapter import attach
    from anima_exp.model.base import check_context, load_base
    from anima_exp.model.dequantized import keep_dequantized
    from anima_exp.model.parameters import count
    from anima_exp.model.recompute import set_recompute
    from anima_exp.model.tokenizer import load_tokenizer, location

    provenance.reset_peak_memory()
    set_seed(config.seed)  # before the adapter draws its first numbers
    tokenizer = load_tokenizer(config.model)
    data = prepare(config.data, tokenizer, cache=paths.cache(config.cache))
    evals = prepare_evals(config, tokenizer, data.heldout)
    found = known_lengths.Lengths(len(data.train), float(data.train.lengths.mean()))
    known_lengths.remember(config, found, cache=paths.cache(config.cache))
    base = load_base(
        config.model,
        config.quant,
        precision=config.trainer.precision,
        trainable=_full(config),
        cache=paths.cache(config.cache),
    )
    check_context(
        base, max(int(rows.lengths.max(initial=0)) for rows in (data.train, data.heldout))
    )
    check_positions(base, evals)
    fingerprint = provenance.base_fingerprint(location(config.model.source), config.model.revision)
    model = attach(base, config.lora)
    parameters = count(model)
    keys = lora_update.use(model)
    if config.quant.type in (Quantization.nf4, Quantization.fp4):
        keep_dequantized(model)
    set_recompute(model, config.trainer.recompute or Recompute.none)
    steps = total_steps(config, len(data.train))
    budget = config.trainer.token_budget or 4096
    return Setup(tokenizer, data, evals, model, keys, parameters, budget, steps, fingerprint)


def _train(
    config: RunConfig,
    folder: RunFolder,
    setup: Setup,
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
    from anima_exp.training.order import row_order
    from anima_exp.training.stop import PauseAt, StopOnSignal
    from anima_exp.training.trainer import QLoraTrainer

    batch_size = config.trainer.batch_size
    order = row_order(
        setup.data.train.lengths,
        rows=setup.steps * batch_size,
        batch_size=batch_size,
        seed=config.seed,
        group_by_length=config.trainer.group_by_length,
    )
    stop = StopOnSignal()
    resumed_at = checkpoint.step(resume) if resume else None
    trainer = QLoraTrainer(
        model=setup.model,
        tokenizer=setup.tokenizer,
        rows=setup.data.train,
        order=order,
        config=config,
        keys=setup.dropout,
        token_budget=setup.token_budget,
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


def _record(
    config: RunConfig, setup: Setup, journal: Journal, *, meter: Any, starts: int
) -> Record:
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
        peak_memory_gib=provenance.peak_memory_gib(),
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


def total_steps(config: RunConfig, rows: int) -> int:
    """Optimizer steps of the whole run; the last pass of `trainer.epochs` may end mid-batch."""
    if config.trainer.steps is not None:
        return config.trainer.steps
    assert config.trainer.epochs is not None
    return max(1, round(config.trainer.epochs * rows / config.trainer.batch_size))


def _full(config: RunConfig) -> bool:
    return config.lora.target_modules is TargetModules.none
