"""Count how much of each part of a mixture an epoch uses: overview, record and model card read it.

A model card reads the counts without numpy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PartCounts:
    """How much of one part an epoch uses. The record keeps it."""

    recipe: str
    weight: float | None
    available: int  # its training rows, each counted once
    rows: int  # of an epoch
    tokens: int  # of an epoch
    label_tokens: int  # of an epoch: those that the loss is computed on
    share_of_rows: float  # of the epoch, 0 to 1
    share_of_tokens: float
    heldout: int
    fingerprint: str  # of its source rows

    @property
    def passes(self) -> float:
        """How often an epoch uses each training row, on average."""
        return self.rows / self.available

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "PartCounts":
        """Return the counts in a record. Fields that this version does not know are left out."""
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__ if name in kept})


def lines(parts: Mapping[str, PartCounts]) -> dict[str, str]:
    """Return one line for each part, by its heading."""
    return {f"part {name}": _line(one) for name, one in parts.items()}


def _line(part: PartCounts) -> str:
    if part.rows == part.available:
        used = f"each of {part.available:,} rows once"
    elif part.rows < part.available:
        used = f"{part.rows:,} of {part.available:,} rows"
    else:
        times, rest = divmod(part.rows, part.available)
        more = f" or {times + 1}" if rest else ""
        used = f"each of {part.available:,} rows {times}{more} times"
    return (
        f"{used}, {part.tokens:,} tokens: {part.share_of_rows:.1%} of the rows, "
        f"{part.share_of_tokens:.1%} of the tokens; {part.heldout:,} held out ({part.recipe})"
    )
