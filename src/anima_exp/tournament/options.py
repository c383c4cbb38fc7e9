"""Options of a tournament. Every default works without knowledge of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anima_exp.config.setting import setting

TIES, UNPARSED = ("half", "drop"), ("tie", "drop")
DIFFERENT = ("refuse", "common", "keep")  # handling of questions that not every pair has
FORMATS = ("markdown", "csv", "json")


@dataclass(frozen=True)
class Options:
    orders: int = 10_000
    matches: int | None = None  # per order; None: all. Table 1 needs about 500
    k: float = 32.0
    start: float = 1000.0
    seed: int = 42  # as in Anima's notebook
    ties: str = "half"
    unparsed: str = "tie"
    reference: str | None = None  # of the percentages; None: the player in every relative pair
    samples: int = 1000  # of the bootstrap
    one_pass: bool = False
    initial: Mapping[str, float] = field(default_factory=dict)  # ratings before the one pass


class Ties(StrEnum):
    """How a tie counts."""

    half = "half"  # half a win for each player
    drop = "drop"


class Unparsed(StrEnum):
    """How an unparsed verdict counts."""

    tie = "tie"
    drop = "drop"


class OnMissingQuestions(StrEnum):
    """What to do with questions that not every pair has."""

    error = "error"
    intersect = "intersect"  # only questions that all pairs have
    keep = "keep"


class EloFormat(StrEnum):
    """What the command prints."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"


@dataclass
class EloConfig:
    """Settings of `anima-exp elo`."""

    verdicts: list[str] = setting(
        list, "Files of verdicts, or folders of *.jsonl.", formerly=("paths",)
    )
    answers: list[str] = setting(list, "Files of answers, for the models' ids and lengths.")
    questions: str | None = setting(None, "File of questions, for their categories.")
    trust_names: bool = setting(
        False, "If ids leave it open, a file named A-vs-B shows the answer of A first."
    )
    on_missing_questions: OnMissingQuestions = setting(
        OnMissingQuestions.error,
        "What to do with questions that not every pair has.",
        formerly=("different_questions",),
        former_values={"refuse": "error", "common": "intersect"},
    )
    reference: str | None = setting(
        None, "Model that percentages refer to; null = the one in every relative pair."
    )
    permutations: int = setting(
        10_000, "Random orders of the matches, over which Elo is averaged.", at_least=1,
        formerly=("orders",),
    )  # fmt: skip
    matches: int | None = setting(
        None, "Matches per order; null = all. QLoRA's ratings need about 500 (inferred).",
        unit="matches", at_least=1,
    )  # fmt: skip
    k: float = setting(32.0, "Largest change of a rating by one match.", unit="Elo points", above=0)
    start: float = setting(1000.0, "Rating before any match.", unit="Elo points")
    seed: int = setting(42, "Seeds the orders and the bootstrap.", at_least=0)
    ties: Ties = setting(Ties.half, "Count a tie as half a win for each, or drop it.")
    unparsed: Unparsed = setting(
        Unparsed.tie, "Count a verdict that could not be read as a tie, or drop it."
    )
    bootstrap_samples: int = setting(
        1000, "Samples of the bootstrap for Bradley-Terry's intervals.", at_least=1,
        formerly=("samples",),
    )  # fmt: skip
    sequential: bool = setting(
        False, "Compute Elo once more in the order of the verdicts, as Anima did.",
        formerly=("one_pass",),
    )  # fmt: skip
    initial_rating: list[str] = setting(
        list,
        "Ratings before the sequential pass: NAME=RATING, or a JSON file of them.",
        formerly=("initial",),
    )
    format: EloFormat = setting(EloFormat.table, "What to print.")
    out: str | None = setting(None, "Write the whole result as JSON to this file.")
    html: str | None = setting(None, "Write one self-contained page with plots to this file.")
