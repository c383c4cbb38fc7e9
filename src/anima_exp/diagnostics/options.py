"""Define the settings of the command doctor."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import setting


class DoctorFormat(StrEnum):
    """The format in which the command prints."""

    text = "text"
    json = "json"


@dataclass
class DoctorConfig:
    """Settings of `anima-exp doctor`."""

    network: bool = setting(
        True, "Ask the servers that are configured whether they answer, for 3 seconds at most."
    )
    runs_dir: str = setting("runs", "Folder of runs, whose disk is measured.")
    cache_dir: str | None = setting(
        None, "Cache folder; null = $ANIMA_EXP_CACHE or ~/.cache/anima_exp."
    )
    format: DoctorFormat = setting(DoctorFormat.text, "Print text or JSON.")
