"""Trackers: Weights & Biases, TensorBoard, MLflow and trackio, any number of them at once."""

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
    """Where metrics go beside the run folder.

    Keys come from the environment or each library's login, never from here.
    """

    mode: TrackingMode = setting(
        TrackingMode.disabled,
        "Of Weights & Biases: auto is online with a key and a network, else offline.",
    )
    project: str = setting("anima_exp", "The project, or MLflow's experiment.")
    entity: str | None = setting(None, "The user or team in Weights & Biases; null = your default.")
    group: str | None = setting(None, "The group that the runs are put in.")
    tags: list[str] = setting(list, "Tags of the run, in addition to those of model and data.")
    tensorboard: bool = setting(
        False,
        "Whether to write TensorBoard's event files in the run folder.",
        since="0.2",
        as_before=False,
    )
    mlflow: bool = setting(False, "Whether to log to MLflow.", since="0.2", as_before=False)
    mlflow_uri: str | None = setting(
        None,
        "MLflow's server or database; null = MLFLOW_TRACKING_URI, else a database in runs/mlflow.",
        since="0.2",
    )
    trackio: bool = setting(False, "Whether to log to trackio.", since="0.2", as_before=False)
    trackio_space: str | None = setting(
        None, "The Space that trackio logs to; null = TRACKIO_SPACE_ID, else here.", since="0.2"
    )
