"""Define a finding, one for each thing that `anima-exp doctor` has checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How good a finding is."""

    ok = "ok"
    info = "info"  # neither good nor bad: an extra that is not installed
    warning = "warning"  # something is slower or missing; a default run works
    broken = "broken"  # a default run cannot work


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    section: str  # software, hardware, storage, accounts, network, cluster
    name: str  # torch
    value: str  # 2.13.0+cpu
    level: Level = Level.ok
    advice: str = ""  # what to do; of a warning and of what is broken


def is_broken(findings: Sequence[Finding]) -> bool:
    """Return whether a default run cannot work on this machine."""
    return any(one.level is Level.broken for one in findings)
