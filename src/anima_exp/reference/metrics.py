"""Write the page of metrics: each score, logged value and rating of the package."""

from collections.abc import Iterator

from anima_exp.metrics.catalogue import MetricEntry, known
from anima_exp.metrics.metric import metric
from anima_exp.reference import markdown

# An example of each score's number as a table shows it.
EXAMPLES = {
    "heldout_loss": 0.5234,
    "neutral_loss": 2.3121,
    "forgetting": 0.0417,
    "loss": 0.5347,
    "grad_norm": 0.868,
    "learning_rate": 2e-4,
    "tokens_per_second": 2156.0,
    "memory_gib": 1.02,
    "epoch": 1.5,
    "tokens": 150_000,
    "eval_seconds": 2.5,
    "elo": 1023.0,
    "bradley_terry": 1022.0,
    "percent_of_reference": 97.8,
}
_PROPORTION = 0.4612
_NO_DIRECTION = {"learning_rate", "tokens", "epoch"}


def metrics_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Metrics", _lines())


def groups() -> dict[str, list[MetricEntry]]:
    """Sort the metrics by where they come from."""
    entries = known().values()
    logged = [one for one in entries if one.where == "metrics.jsonl"]
    scores = [one for one in entries if one not in logged and "record.json" in one.where]
    ratings = [one for one in entries if one not in logged and one not in scores]
    return {"Scores": scores, "Logged values": logged, "Ratings": ratings}


_ABOUT = {
    "Scores": (
        "An evaluation measures its scores before training, every `trainer.eval_every` steps, and "
        "after training. Choose evaluations with `evals=[heldout,mmlu]`. Scores are kept in "
        "`record.json` and `metrics.jsonl`, those of benchmarks by subject in `accuracies.jsonl`."
    ),
    "Logged values": (
        "Training logs these values every `trainer.log_every` steps, in `metrics.jsonl`."
    ),
    "Ratings": "A tournament computes these values from the verdicts of a judge.",
}


def _lines() -> Iterator[str]:
    yield (
        "Every table, page and model card writes a metric in the same way. `sweep.metric`, "
        "`trainer.keep_best` and `compare metric=` take these names. `anima-exp help NAME` "
        "explains one of them."
    )
    for heading, entries in groups().items():
        yield ""
        yield f"## {heading}"
        yield ""
        yield _ABOUT[heading]
        yield ""
        yield from markdown.table(
            ["name", "what it is", "unit", "better", "written as", "measured"],
            map(_row, entries),
        )
    yield ""
    yield "## Your own"
    yield ""
    yield (
        "A function of your own (`evals.custom`) gives a score under its name. If it gives "
        "several, their names begin with it. It says their direction and unit with `Described`. "
        "A benchmark of your own (`evals.benchmarks`) gives `NAME` and `NAME_micro`."
    )


def _row(entry: MetricEntry) -> list[str]:
    value = EXAMPLES.get(entry.name, _PROPORTION)
    better = "lower" if metric(entry.name).minimize else "higher"
    return [
        f"`{entry.name}`",
        entry.what,
        entry.unit,
        "-" if entry.name in _NO_DIRECTION else better,
        metric(entry.name).number(value),
        entry.source,
    ]
