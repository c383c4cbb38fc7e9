"""Write the page of metrics: each score and each logged value, as the tables of a run write it."""

from collections.abc import Iterator, Mapping

from anima_exp.config import BENCHMARKS
from anima_exp.evals.multiple_choice.benchmark import entry
from anima_exp.metrics.metric import metric
from anima_exp.reference import markdown

# A value of each, for the example of how it is written.
_LOSS, _PROPORTION = 0.5234, 0.47
SCORES = {
    "heldout_loss": (
        "evals.heldout",
        _LOSS,
        "Mean negative log-likelihood per response token on the held-out rows, in nats.",
    ),
    "exact_match": (
        "evals.exact_match",
        _PROPORTION,
        "Proportion of held-out questions whose greedy answer equals the reference.",
    ),
    "answers_match": (
        "evals.answers",
        _PROPORTION,
        "Proportion of the answers that equal their reference, if the questions carry one.",
    ),
}
_BENCHMARKS = {
    "choices": "the generated multiple-choice tasks of the tiny world",
    "mmlu": "MMLU, 57 subjects in English (arXiv 2009.03300)",
    "cmmlu": "CMMLU, 67 subjects in Chinese (arXiv 2306.09212)",
    "ceval": "C-Eval, 52 subjects in Chinese (arXiv 2305.08322)",
}
LOGGED = {
    "loss": (_LOSS, "Mean training loss per response token since the last log line, in nats."),
    "grad_norm": (1.234, "Norm of the gradient before clipping, over all trained parameters."),
    "learning_rate": (2e-4, "Learning rate of the step."),
    "tokens": (150_000, "Tokens trained on so far, without padding."),
    "tokens_per_second": (2156.0, "Training speed since the last log line, over all processes."),
    "memory_gib": (1.02, "Peak memory of the GPU, or of the process on a CPU."),
    "epoch": (1.5, "Passes over the training rows so far."),
    "eval_seconds": (2.5, "Seconds that the evaluation took."),
}
RATINGS = {
    "elo": (1023.0, "Elo rating, the mean over many random orders of the matches."),
    "bradley_terry": (1022.0, "Bradley-Terry rating, on the scale of Elo."),
    "percent_of_reference": (97.8, "Score as a percentage of the reference model's score."),
}


def metrics_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Metrics", _lines())


def scores() -> dict[str, tuple[str, float, str]]:
    """Return every built-in score: the setting that measures it, an example, and what it is."""
    built_in = dict(SCORES)
    for name in BENCHMARKS:
        for score, mean in entry(name).scores.items():
            over = "questions" if mean == "micro" else "subjects"
            built_in[score] = (
                f"evals.{name}",
                0.4612,
                f"Proportion of right answers, mean over {over}: {_BENCHMARKS[name]}.",
            )
    return built_in


def _lines() -> Iterator[str]:
    yield (
        "Every place that shows a number writes it in the same way: the terminal, the comparison, "
        "the HTML page and the model card. The direction says which way is better. "
        "`sweep.metric`, `trainer.keep_best` and the metric of a comparison take these names."
    )
    yield ""
    yield "## Scores"
    yield ""
    yield (
        "An evaluation measures a score before training, every `trainer.eval_every` steps, and "
        "after training. Choose evaluations with `evals=[heldout,mmlu]`."
    )
    yield ""
    yield from markdown.table(
        ["score", "measured by", "better", "written as", "what it is"],
        [
            [f"`{name}`", f"`{setting}`", _better(name), _written(name, value), about]
            for name, (setting, value, about) in scores().items()
        ],
    )
    yield ""
    yield (
        "A function of your own (`evals.custom`) gives scores under its name, or `NAME_...` if it "
        "gives several. It describes their direction and unit with `Described`. A benchmark of "
        "your own (`evals.benchmarks`) gives `NAME` and `NAME_micro`."
    )
    yield ""
    yield "## Logged values"
    yield ""
    yield (
        "Training writes these to `metrics.jsonl` and to the trackers every `trainer.log_every` "
        "steps."
    )
    yield ""
    yield from _table(LOGGED, "value")
    yield ""
    yield "## Ratings"
    yield ""
    yield "A tournament (`anima-exp elo`) computes these from the verdicts of a judge."
    yield ""
    yield from _table(RATINGS, "rating")


def _table(values: Mapping[str, tuple[float, str]], heading: str) -> list[str]:
    return markdown.table(
        [heading, "better", "written as", "what it is"],
        [
            [f"`{name}`", _better(name), _written(name, value), about]
            for name, (value, about) in values.items()
        ],
    )


_NEITHER = {"learning_rate", "tokens", "epoch"}


def _better(name: str) -> str:
    if name in _NEITHER:
        return "-"
    return "lower" if metric(name).minimize else "higher"


def _written(name: str, value: float) -> str:
    return metric(name).number(value)
