"""33B, and 65B in 48 GB: do they fit, as the planner says they do, and how fast are they?"""

from pathlib import Path

from check.rows import Rows
from check.speed import NO_COPY, training

GB48 = 48e9 / 2**30  # what the makers call 48 GB has a few GiB less than 48 GiB


def measure(rows: Rows, work: Path) -> None:
    training(rows, work, "33b", "alpaca", ())
    training(rows, work, "65b", "alpaca", (), cap_gib=round(GB48, 2))
    training(rows, work, "65b", "512", (), cap_gib=round(GB48, 2))
    training(rows, work, "33b", "512", (NO_COPY,))
