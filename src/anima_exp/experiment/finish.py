"""End a run: evaluate for the last time, choose the weights to keep, and build the record."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from anima_exp.config import RunConfig
from anima_exp.evals import answers
from anima_exp.results import identity, provenance
from anima_exp.results.folder import RunFolder
from anima_exp.results.journal import MetricsLog, NullMetricsLog
from anima_exp.results.record import Record

if TYPE_CHECKING:  # these import torch
    from anima_exp.experiment.setup import Setup
    from anima_exp.training.best import Best
    from anima_exp.training.loop import Loop
    from anima_exp.training.meter import Meter


@dataclass(frozen=True)
class Ending:
    """How training ended, and the scores of the weights that the run keeps."""

    step: int  # the last step
    best: "Best"
    scores: dict[str, float]  # of the weights that the run keeps; {} except in the main process
    scores_last: dict[str, float] = field(default_factory=dict)  # of the last step, if it differs


def end(
    config: RunConfig,
    folder: RunFolder,
    setup: "Setup",
    loop: "Loop",
    journal: MetricsLog | NullMetricsLog,
    *,
    evaluate: Callable[[int], dict[str, float]],
    resumed_at: int | None,
) -> Ending:
    """Evaluate the last step, and load the best weights if trainer.keep_best is set.

    The questions of evals.answers are answered with the weights that the run keeps.

    Args:
        evaluate: evaluates the model at a step.
        resumed_at: the step that this start resumed from.
    """
    from anima_exp.evals.evaluator import EvalResult
    from anima_exp.training.best import load_weights

    step, best = loop.done, loop.best
    # If trainer.patience has ended the run, this step has been evaluated already.
    if not best.exhausted or not loop.world.run_on_main(lambda: bool(journal.scores(step))):
        scores = evaluate(step)
        if not best.exhausted:
            loop.judge(scores)
    if best.keeps and best.step is not None:
        load_weights(setup.model, folder.checkpoints)
    kept_step = best.summary().get("step", step)
    scores, last = journal.scores(kept_step), journal.scores(step)
    if config.evals.answers and best.metric:
        same = step == resumed_at and not best.keeps
        result = answers.add_to_result(EvalResult(), config, setup, folder.path, same_weights=same)
        journal.evaluated(step, result.scores, [], result.seconds, part="answers")
        scores |= result.scores
    return Ending(step, best, scores, last if best.keeps else {})


def record_of(
    config: RunConfig,
    setup: "Setup",
    journal: MetricsLog,
    meter: "Meter",
    tokens_by_process: list[int],
    peak_gib: tuple[float, float | None],
    starts: int,
    *,
    ending: Ending,
) -> Record:
    """Return the record of a run, without what its trackers add when they finish.

    Args:
        peak_gib: the peak of used memory, and of the memory that torch had reserved on a GPU.
        starts: how often the run was launched.
    """
    from anima_exp.evals.forgetting import intervals

    budget = setup.execution.token_budget
    return Record(
        name=identity.run_name(config),
        settings=identity.flatten(config),
        scores=ending.scores,
        scores_before=journal.scores(0),
        steps=ending.step,
        tokens=meter.total_tokens,
        rows=asdict(setup.data.counts),
        parts={name: asdict(one) for name, one in setup.data.parts.items()},
        chat=asdict(setup.data.chat.summary) if setup.data.chat else {},
        report=setup.report.table(),
        parameters={"trainable": setup.parameters.trainable, "total": setup.parameters.total},
        train_seconds=meter.train_seconds,
        eval_seconds=journal.eval_seconds,
        execution={
            "token_budget": min(budget, meter.token_limit or budget),
            "recompute": setup.execution.recompute.value,
            "keep_dequantized": setup.execution.keep_dequantized,
            "paged": setup.execution.paged,
            "out_of_memory": meter.out_of_memory,
        },
        peak_memory_gib=peak_gib[0],
        peak_reserved_gib=peak_gib[1],
        predicted_memory_gib=setup.execution.predicted_peak_gib + setup.overhead_gib,
        starts=starts,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint=setup.data.fingerprint,
        base_fingerprint=setup.base_fingerprint,
        versions=provenance.versions(),
        git=provenance.git_state(),
        hardware=provenance.hardware(),
        processes=len(tokens_by_process),
        tokens_by_process=tokens_by_process,
        code=provenance.code_hash(),
        results_version=identity.RESULTS_VERSION,
        places=identity.places(config),
        metrics=setup.evals.described(ending.scores),
        best=ending.best.summary(),
        scores_last=ending.scores_last,
        base_format=setup.base_format,
        intervals=intervals(journal, ending.best.summary().get("step", ending.step)),
        ended=ending.best.reason if ending.step < setup.steps else "",
    )
