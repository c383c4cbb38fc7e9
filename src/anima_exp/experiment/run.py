"""Compute one run from its config to its record: data, model, training and evaluation."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import RunConfig
from anima_exp.config.checks import check_length
from anima_exp.distributed.environment import rank_info
from anima_exp.distributed.process_group import join_process_group
from anima_exp.distributed.process_state import borrowed
from anima_exp.distributed.world import ProcessGroup
from anima_exp.errors import AnimaError, RunEnded, RunInterrupted, RunPaused, with_notes
from anima_exp.evals import answers
from anima_exp.events import AlreadyDone, Done, Listener, emit, following, listening, say
from anima_exp.experiment.finish import end, record_of
from anima_exp.experiment.preflight import check_inputs, check_machine, check_world_size
from anima_exp.experiment.process_launcher import launch
from anima_exp.results import identity, provenance
from anima_exp.results.folder import RunFolder
from anima_exp.results.journal import MetricsLog, NullMetricsLog
from anima_exp.results.record import Record
from anima_exp.results.tracking import Tracker
from anima_exp.system.atomic import disk_errors_as_run_error
from anima_exp.system.signals import StopRequest, stopped

if TYPE_CHECKING:
    from anima_exp.experiment.setup import Setup
    from anima_exp.training.best import Best
    from anima_exp.training.loop import Loop

# Importing torch and transformers takes ten seconds. A finished run or a mistake in the settings
# does not need them, so modules that do are imported where they are used.


def run(
    config: RunConfig,
    *,
    until: int | None = None,
    listen: Listener | None = None,
    stop: StopRequest | None = None,
) -> Record:
    """Train and evaluate a run, resume it where it stopped, or return the record of a finished run.

    Under torchrun, or with trainer.num_gpus, several processes share the run, and the main process
    writes its files. The function may be called from any thread and any number of times. Of several
    calls at the same time in one process, one computes and the others wait.

    Nothing is printed, and no signal handler is set: Ctrl-C raises KeyboardInterrupt. To let Ctrl-C
    save a checkpoint, use `stop_on_signals` of system/signals.py.

    Args:
        until: pause after this step, with an evaluation and a checkpoint, if the run is longer.
        listen: receives the events; by default the current listener does (events.py).
        stop: lets another thread stop the run with a checkpoint.

    Returns:
        The record, in every process.

    Raises:
        RunPaused: if the run reached `until`.
        RunEnded: if the run was stopped on request, or another process of the run has died.
        AnimaError: if the run fails by a user's mistake. failure.txt in the run folder says why.
    """
    with listening(listen):
        return _launch_or_run(config, until=until, stop=stop or StopRequest())


def _launch_or_run(config: RunConfig, *, until: int | None, stop: StopRequest) -> Record:
    check_length(config)
    here = rank_info()
    processes = check_world_size(config, here)
    folder = RunFolder(config)
    if here.size == 1:
        stop.check(f"before the run started: {folder.path}")
    if here.size == 1 and processes > 1 and not folder.done:
        check_inputs(config)
        check_machine(config)
        return launch(config, processes, until=until, stop=stop)
    with (
        borrowed(stop),
        join_process_group(here) as world,
        following(world.is_main),
        ExitStack() as claims,
    ):
        world.assert_same_on_all_ranks(_shared_settings(config))
        if world.run_on_main(lambda: _claim(config, folder, claims)):
            return _same_for_all(world, folder, lambda: _show_done(folder))
        try:
            return _run(config, folder, world, until=until, stop=stop)
        except RunEnded:
            raise
        except AnimaError as error:
            folder.mark_failed(str(error))
            raise
        except Exception as error:
            folder.mark_failed(with_notes(error))
            raise


def _shared_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings and versions that must be the same in all processes.

    The cache folder may differ between machines.
    """
    settings = {key: value for key, value in identity.flatten(config).items() if key != "cache_dir"}
    versions = {key: value for key, value in provenance.versions().items() if key != "python"}
    return settings | versions


def _claim(config: RunConfig, folder: RunFolder, claims: ExitStack) -> bool:
    """Lock the run folder, and return whether the run is done."""
    check_inputs(config)
    if not folder.done:
        check_machine(config)
    return claims.enter_context(folder).done


def _same_for_all(world: ProcessGroup, folder: RunFolder, record: Callable[[], Record]) -> Record:
    """Return the record of the main process in every process."""
    return Record(**world.run_on_main(lambda: record().table()), folder=folder.path)


def _show_done(folder: RunFolder) -> Record:
    record = Record.read(folder.path)
    emit(AlreadyDone(record, folder.path, provenance.code_differs(record)))
    return record


def _run(
    config: RunConfig,
    folder: RunFolder,
    world: ProcessGroup,
    *,
    until: int | None,
    stop: StopRequest,
) -> Record:
    from anima_exp.evals.evaluator import measure
    from anima_exp.evals.forgetting import since_start
    from anima_exp.experiment.overview import Overview, show
    from anima_exp.experiment.setup import load
    from anima_exp.model_card.card import of_run as card_of
    from anima_exp.training import checkpoint
    from anima_exp.training.best import Best
    from anima_exp.training.checkpoint import save

    setup = load(config, world)
    if number := next(filter(None, world.all_gather(stop.number)), 0):
        raise stopped(
            number,
            f"before training. Run the same command again to resume: {folder.path}",
        )
    inputs = {
        "data": setup.data.train.cache_key,  # the cache key of the token ids
        "base": setup.base_fingerprint,
    }
    if setup.adapter_fingerprint:
        inputs["adapter"] = setup.adapter_fingerprint
    world.assert_same_on_all_ranks(inputs)
    world.run_on_main(lambda: folder.check_inputs(**inputs))
    answers.check_prompts(config, setup)
    newest = world.run_on_main(lambda: str(checkpoint.newest_whole(folder.checkpoints, say) or ""))
    resume = Path(newest) if newest else None
    if resume:
        world.assert_same_on_all_ranks({f"{resume} is there": resume.is_dir()})  # on every machine
    resumed_at = checkpoint.step(resume) if resume else None
    show(Overview(config, folder.path, setup, resumed_at, world.size))
    starts = folder.record_launch(again=bool(resume)) if world.is_main else 0
    journal: MetricsLog | NullMetricsLog = NullMetricsLog()
    if world.is_main:
        redo_from = 0 if resumed_at is None else min(resumed_at + 1, setup.steps)
        tracker = Tracker(config, folder.path, processes=world.size, redo_from=redo_from)
        journal = MetricsLog(
            folder.path,
            tracker=tracker,
            steps=setup.steps,
            resumed_at=resumed_at,
            vouched=checkpoint.journal(resume) if resume else None,
        )
        if resume:
            journal.resume_tracking()

    best = Best.of(config.trainer, setup.evals.described)

    def evaluate(step: int) -> dict[str, float]:
        result = measure(setup.model, setup.evals, setup.evaluators, step=step)
        if step == setup.steps and config.evals.answers and not best.metric:  # else see finish.py
            result = answers.add_to_result(
                result, config, setup, folder.path, same_weights=step == resumed_at
            )
        result = since_start(result, step, journal, world)
        text = result.text.to_json() if result.text else None
        about = (result.seconds, result.rows(), result.metrics, text)
        journal.evaluated(step, result.scores, result.generations, *about)
        return result.scores

    trained = folder.path / ("model" if config.lora.is_full_finetune else "adapter")
    try:
        if config.trainer.eval_at_start and not resume:
            scores = evaluate(0)
            world.run_on_main(lambda: best.checked(scores))
        loop = _train(
            config, folder, setup, journal, world,
            evaluate=evaluate, best=best, resume=resume, until=until, stop=stop,
        )  # fmt: skip
        ending = end(config, folder, setup, loop, journal, evaluate=evaluate, resumed_at=resumed_at)
        meter, tokens_by_process = loop.meter, world.all_gather(loop.step.tokens)
        paged = loop.paged_bytes()
        peak = max(world.all_gather(provenance.peak_memory_gib(paged)))
        reserved = max(world.all_gather(provenance.peak_reserved_gib(paged) or 0.0)) or None
        meter.out_of_memory = sum(world.all_gather(meter.out_of_memory))
        meter.token_limit = world.all_reduce_min(meter.token_limit or sys.maxsize)
        if isinstance(journal, MetricsLog):
            record = record_of(
                config, setup, journal, meter, tokens_by_process, (peak, reserved), starts,
                ending=ending,
            )  # fmt: skip
            card = card_of(record, journal, setup.model, setup.tokenizer)
            save(setup.model, setup.tokenizer, trained, model_card=card)
    except BaseException as error:
        journal.failed(orderly=isinstance(error, RunInterrupted | RunPaused))
        raise
    journal.finish(ending.scores)

    def saved() -> Record:
        assert isinstance(journal, MetricsLog)
        notes = journal.tracker.notes  # a tracker may have failed while it finished
        done = replace(record, wandb=notes.get("wandb"), tracking=notes, folder=folder.path)
        with disk_errors_as_run_error(folder.path):
            journal.vouch()
            done.save(folder.path)
        emit(Done(done, trained, journal.answers(0), journal.answers(done.left_at)))
        return Record.read(folder.path)  # as every later call returns it

    return _same_for_all(world, folder, saved)


def _train(
    config: RunConfig,
    folder: RunFolder,
    setup: "Setup",
    journal: MetricsLog | NullMetricsLog,
    world: ProcessGroup,
    *,
    evaluate: Callable[[int], dict[str, float]],
    best: "Best",
    resume: Path | None,
    until: int | None,
    stop: StopRequest,
) -> "Loop":
    """Train to the last step, and return the loop (training/loop.py).

    Raises:
        RunInterrupted: if the run was stopped.
        RunPaused: if the run reached `until`.
    """
    from anima_exp.training import checkpoint
    from anima_exp.training.loop import Loop
    from anima_exp.training.stop import StopAfterStep

    stopping = StopAfterStep(world, stop)
    loop = Loop(
        model=setup.model,
        tokenizer=setup.tokenizer,
        rows=setup.data.train,
        order=setup.order,
        config=config,
        keys=setup.dropout,
        token_budget=setup.execution.token_budget,
        paged=setup.execution.paged,
        world=world,
        lockstep=setup.evaluators.lockstep,
        folder=folder.checkpoints,
        log=journal.trained,
        vouch=journal.vouch,
        evaluate=evaluate,
        best=best,
    )
    if resume and until is not None and checkpoint.step(resume) >= until:
        loop.load_weights(resume)  # only the evaluation at the pause is missing
    else:
        with stopping:
            loop.train(resume, stopping, until=until)
    done = loop.done
    journal.close()
    if stopping.received and done < setup.steps:
        raise stopped(
            stopping.received,
            f"at step {done} of {setup.steps}. Run the same command again to resume: {folder.path}",
        )
    if done < setup.steps and not best.exhausted:
        if not world.run_on_main(lambda: bool(journal.scores(done))):
            evaluate(done)
        raise RunPaused(f"Paused at step {done} of {setup.steps}: {folder.path}")
    return loop
