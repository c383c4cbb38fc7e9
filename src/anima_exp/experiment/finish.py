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
    step: int  # the last one
    best: "Best"
    scores: dict[str, float]  # of the weights that the run leaves; {} in all processes but one
    scores_last: dict[str, float] = field(default_factory=dict)  # if those are of another step


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
    """Measure the last step; with trainer.keep_best let the model have the best weights.

    Questions (evals.answers) are asked of the weights that the run leaves.
    """
    from anima_exp.evals.evaluator import EvalResult
    from anima_exp.training.best import load_weights

    step, best = loop.done, loop.best
    # Where trainer.patience has ended the run, this step is measured.
    if not best.exhausted or not loop.world.run_on_main(lambda: bool(journal.scores(step))):
        scores = evaluate(step)
        if not best.exhausted:
            loop.judge(scores)
    if best.keeps and best.step is not None:
        load_weights(setup.model, folder.checkpoints)
    left_at = best.summary().get("step", step)
    scores, last = journal.scores(left_at), journal.scores(step)
    if config.evals.answers and best.metric:
        same = step == resumed_at and not best.keeps
        asked = answers.add_to_result(EvalResult(), config, setup, folder.path, same_weights=same)
        journal.evaluated(step, asked.scores, [], asked.seconds, part="answers")
        scores |= asked.scores
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
    """Return all that a finished run says of itself, but what only its end can tell.

    Args:
        peak_gib: of memory, and of what torch had reserved for it on a GPU.
    """
    budget = setup.execution.token_budget
    return Record(
        name=identity.run_name(config),
        settings=identity.flatten(config),
        scores=ending.scores,
        scores_before=journal.scores(0),
        steps=ending.step,
        tokens=meter.total_tokens,
        rows=asdict(setup.data.counts),
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
        ended=ending.best.reason if ending.step < setup.steps else "",
    )
