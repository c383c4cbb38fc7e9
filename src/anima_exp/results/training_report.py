"""Say what a run trains: by kind of module, with positions, attention and what is left out.

Overview, record and model card read the report, so nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """A kind of module. Their order is that of the table."""

    attention = "attention"
    feed_forward = "feed-forward"
    experts = "experts"
    state_space = "state space or linear attention"
    convolution = "convolution"
    router = "router"
    embeddings = "embeddings"
    head = "head"
    norms = "norms"
    tower = "vision or audio tower"
    other = "other"


@dataclass(frozen=True)
class KindCounts:
    """The parameters of one kind of module. Parameters are elements, not bytes."""

    kind: str
    parameters: int  # of the base model
    stored: dict[str, int]  # number type -> parameters: {"nf4": 4_194_304}
    bytes: int  # of the base model, quantization constants included
    matrices: int  # how many matrices are multiplied by hidden states
    adapted: int  # how many of these have an adapter
    trained: int  # parameters that are trained, of the adapter or of the base

    @property
    def quantized(self) -> int:
        """Parameters that are stored in 4 or 8 bits."""
        return sum(self.stored.get(one, 0) for one in QUANTIZED)


QUANTIZED = ("nf4", "fp4", "int8", "fp8")


@dataclass(frozen=True)
class TrainingReport:
    """What a run trains, as measured on the loaded model before the first step."""

    kinds: list[KindCounts]
    positions: str  # how the model knows them: RoPE with type, factor and context
    attention: str  # the implementation
    rows_apart: str  # what keeps rows of a micro-batch apart
    template: str  # of the prompts, and which tokens the loss is computed on
    left_out: list[str] = field(default_factory=list)  # a sentence for each thing

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "TrainingReport":
        """Return the report in a record. Fields that this version does not know are left out."""
        known = {name: kept.get(name, "") for name in cls.__dataclass_fields__}
        fields = KindCounts.__dataclass_fields__
        known["kinds"] = [
            KindCounts(**{name: one[name] for name in fields if name in one})
            for one in known["kinds"] or ()
        ]
        known["left_out"] = known["left_out"] or []
        return cls(**known)

    def table(self) -> dict[str, Any]:
        """Return what the record holds."""
        return asdict(self)


def lines(report: TrainingReport) -> dict[str, str]:
    """Return the report as a few lines for the terminal, by their headings."""
    trained = [one for one in report.kinds if one.trained]
    frozen = [one for one in report.kinds if not one.trained]
    said = {"modules": "; ".join(_trained(one) for one in trained)}
    if frozen:
        said["frozen"] = ", ".join(f"{one.kind} {amount(one)}" for one in frozen)
    said["positions"] = report.positions
    said["attention"] = f"{report.attention}; {report.rows_apart}"
    said["template"] = report.template
    if report.left_out:
        said["untrained"] = "; ".join(report.left_out)
    return said


def _trained(one: KindCounts) -> str:
    if not one.adapted:
        return f"{one.kind} {amount(one)}, {one.trained:,} trained"
    every = one.adapted == one.matrices
    where = f"all {one.matrices:,}" if every else f"{one.adapted:,} of its {one.matrices:,}"
    return f"{one.kind} {amount(one)}, adapters on {where} matrices"


def amount(one: KindCounts) -> str:
    """Return how many parameters a kind has, and how they are stored: `25.2 M in nf4`."""
    parts = sorted(one.stored.items(), key=lambda pair: -pair[1])
    if len(parts) == 1:
        return f"{many(one.parameters)} in {parts[0][0]}"
    stored = ", ".join(f"{many(count)} in {name}" for name, count in parts)
    return f"{many(one.parameters)} ({stored})"


def many(count: int) -> str:
    """Return a count in three digits: `12.3 M`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


HEADINGS = ("kind", "parameters", "stored as", "size", "with adapter", "trained")


def rows(report: TrainingReport) -> list[Sequence[str]]:
    """Return the table by kind of module, with the cells of HEADINGS in each row."""
    return [
        (
            one.kind,
            f"{one.parameters:,}",
            ", ".join(
                name if count == one.parameters else f"{name} ({count / one.parameters:.1%})"
                for name, count in sorted(one.stored.items(), key=lambda pair: -pair[1])
            ),
            f"{one.bytes / 2**20:,.1f} MiB",
            f"{one.adapted:,} of {one.matrices:,} matrices" if one.matrices else "",
            f"{one.trained:,}" if one.trained else "",
        )
        for one in report.kinds
    ]
