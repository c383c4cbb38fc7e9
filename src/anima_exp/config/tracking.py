"""Weights & Biases."""

from dataclasses import dataclass, field
from enum import StrEnum


class TrackingMode(StrEnum):
    auto = "auto"  # online with a key and a network, else offline
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class TrackingConfig:
    """Weights & Biases. Keys come from the environment or `wandb login`, never from here."""

    mode: TrackingMode = TrackingMode.disabled
    project: str = "anima_exp"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    tensorboard: bool = False
    mlflow: bool = False
    mlflow_uri: str | None = None
    trackio: bool = False
    trackio_space: str | None = None
