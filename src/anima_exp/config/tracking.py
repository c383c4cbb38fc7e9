"""Weights & Biases."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import setting


class TrackingMode(StrEnum):
    auto = "auto"  # online with a key and a network, else offline
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class TrackingConfig:
    """Weights & Biases. Keys come from the environment or `wandb login`, never from here."""

    mode: TrackingMode = setting(
        TrackingMode.disabled, "auto is online with a key and a network, else offline."
    )
    project: str = setting("anima_exp", "The project.")
    entity: str | None = setting(None, "The user or team; null = your default one.")
    group: str | None = setting(None, "The group that the runs are put in.")
    tags: list[str] = setting(list, "Tags of the run, beside those of model and data.")
