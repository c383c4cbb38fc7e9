"""What is measured, each with its own settings."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class HeldoutConfig:
    """Loss per response token on the rows set aside."""

    max_rows: int | None = 1000
    batch_size: int = 8


@dataclass
class ExactMatchConfig:
    """Share of greedy answers equal to the reference, on rows set aside (data.exact_answers)."""

    max_rows: int | None = 200
    max_new_tokens: int = 32
    batch_size: int = 64


@dataclass
class SamplesConfig:
    """What the model writes to a few fixed prompts, greedily."""

    prompts: list[str] = MISSING
    max_new_tokens: int = 70


@dataclass
class EvalsConfig:
    """What is measured at every evaluation; an eval that is null is off."""

    heldout: HeldoutConfig | None = None
    exact_match: ExactMatchConfig | None = None
    samples: SamplesConfig | None = None
