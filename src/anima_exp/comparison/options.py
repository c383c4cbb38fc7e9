"""Settings of the command compare."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import setting


class CompareFormat(StrEnum):
    """What the command prints."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"


@dataclass
class CompareConfig:
    """Settings of `anima-exp compare`."""

    runs: list[str] = setting(
        list, "Run folders, sweep folders, or folders of runs.", formerly=("paths",)
    )
    metric: str | None = setting(
        None, "Score to compare by; null = the sweep's, otherwise heldout_loss."
    )
    sort: str | None = setting(
        None, "Column or setting to sort by; null = the metric, the best first."
    )
    filter: list[str] = setting(
        list, "Only runs that meet these conditions: [lora.rank>=8,data.name!=alpaca]."
    )
    best_per: str | None = setting(None, "Only the best row for each value of this setting.")
    baseline: str | None = setting(
        None, "Run, or SETTING=VALUE, that all others are compared with in pairs."
    )
    ratings: str | None = setting(None, "Result of a tournament: the file of anima-exp elo out=.")
    top: int | None = setting(
        None, "Show only the first rows; null = 30 in the terminal, all in files.", unit="rows",
        at_least=1,
    )  # fmt: skip
    format: CompareFormat = setting(CompareFormat.table, "What to print.")
    html: str | None = setting(None, "Write one self-contained page with plots to this file.")
    wandb: bool = setting(False, "Save the comparison as a W&B workspace.")
