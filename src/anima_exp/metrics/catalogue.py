"""Describe every score and logged value of the package in one sentence.

    known()["heldout_loss"].what  # "Mean loss per response token on the held-out split."

`anima-exp help NAME` and the reference page of metrics read it. Unit, direction and number format
of a metric are in `metric.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from anima_exp.config import BENCHMARKS
from anima_exp.config.evals import EXACT_MATCH_TURNS
from anima_exp.metrics.metric import FORGETTING, NEUTRAL_LOSS, part_score


@dataclass(frozen=True)
class MetricEntry:
    """One score or logged value."""

    name: str
    what: str  # one or two sentences
    unit: str
    source: str  # how to get it
    where: str  # the files that hold it


_SCORES = "record.json, metrics.jsonl"
_LOGGED = "metrics.jsonl"

_OWN = (
    MetricEntry(
        "heldout_loss",
        "Mean cross-entropy loss per response token on the held-out split. Every token has the "
        "same weight.",
        "nats per token",
        "evals=[heldout], which is on by default",
        _SCORES,
    ),
    MetricEntry(
        part_score("NAME"),
        "Mean loss per response token on the held-out rows of one part of data=mixture.",
        "nats per token",
        "evals=[heldout], with data=mixture",
        _SCORES,
    ),
    MetricEntry(
        "exact_match",
        "Share of greedy answers on the held-out split that equal the reference answer. In "
        "conversations every answer counts, each after the true messages before it.",
        "share of answers",
        "evals=[exact_match], for data sets with data.exact_answers=true",
        _SCORES,
    ),
    *(
        MetricEntry(
            name,
            f"The exact_match of answer {turn} of each conversation on the held-out split. A call "
            "of a tool is an answer.",
            "share of answers",
            "evals=[exact_match], for conversations with data.exact_answers=true",
            _SCORES,
        )
        for turn, name in enumerate(EXACT_MATCH_TURNS, 1)
    ),
    MetricEntry(
        NEUTRAL_LOSS,
        "Mean cross-entropy loss per token on neutral text, which the training rows are not about. "
        "In the tiny world it is the loss on the answers of its English tasks.",
        "nats per token",
        "evals=[forgetting]",
        f"{_SCORES}, neutral_text.jsonl",
    ),
    MetricEntry(
        FORGETTING,
        "Rise of the neutral_loss since before training. Its 95 % interval is over the rows of the "
        "text, each before and after.",
        "nats per token",
        "evals=[forgetting]",
        _SCORES,
    ),
    MetricEntry(
        "answers_match",
        "Share of generated answers that equal the reference of their question.",
        "share of answers",
        "evals=[answers], for questions with references",
        _SCORES,
    ),
)
_BENCHMARK = {
    "choices": "the multiple-choice questions of the tiny world",
    "mmlu": "MMLU (57 subjects, English)",
    "cmmlu": "CMMLU (67 subjects, Chinese)",
    "ceval": "C-Eval (52 subjects, Chinese)",
}
_TRAINING = (
    ("loss", "Mean training loss per label token since the last log line.", "nats per token"),
    ("grad_norm", "Norm of the gradient before clipping.", "none"),
    ("learning_rate", "Learning rate of the step.", "none"),
    ("tokens_per_second", "Tokens trained on per second, without padding.", "tokens/s"),
    ("memory_gib", "Peak memory of the GPU, or of the process on a CPU.", "GiB"),
    ("epoch", "Passes over the training rows so far.", "passes"),
    ("tokens", "Tokens trained on so far, without padding.", "tokens"),
    ("eval_seconds", "Duration of an evaluation.", "seconds"),
)
_RATINGS = (
    ("elo", "Elo rating, the mean over many random orders of the matches.", "Elo points"),
    ("bradley_terry", "Strength in the Bradley-Terry model, on the scale of Elo.", "Elo points"),
    ("win_rate", "Share of matches won; a tie counts as half a win.", "share of matches"),
    (
        "percent_of_reference",
        "Score given by the judge, in percent of the reference model's score for the same "
        "questions.",
        "%",
    ),
)


def known() -> Mapping[str, MetricEntry]:
    """Return all metrics of the package by name."""
    found = [*_OWN]
    for name in BENCHMARKS:
        title = _BENCHMARK.get(name, name)
        how = f"evals=[{name}]"
        found.append(
            MetricEntry(
                name,
                f"Accuracy on {title}: the mean over subjects, each with the same weight.",
                "share of questions",
                how,
                f"{_SCORES}, accuracies.jsonl",
            )
        )
        if name == "choices":  # its subjects are of one size, so both means are the same
            continue
        found.append(
            MetricEntry(
                f"{name}_micro",
                f"Accuracy on {title}: the mean over questions, each with the same weight.",
                "share of questions",
                how,
                f"{_SCORES}, accuracies.jsonl",
            )
        )
    found += [MetricEntry(*one, "logged during training", _LOGGED) for one in _TRAINING]
    found += [
        MetricEntry(*one, "anima-exp elo; compare shows it with ratings=FILE", "elo's out=FILE")
        for one in _RATINGS
    ]
    return {one.name: one for one in found}
