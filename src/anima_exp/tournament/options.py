"""What can be asked of a tournament; every default is one that needs no explanation of its data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TIES, UNPARSED = ("half", "drop"), ("tie", "drop")
DIFFERENT = ("refuse", "common", "keep")  # what becomes of questions that not every pair has
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
    reference: str | None = None  # of the percentages; None: who is in every relative pair
    samples: int = 1000  # of the bootstrap
    one_pass: bool = False
    initial: Mapping[str, float] = field(default_factory=dict)  # ratings before the one pass
