"""Define the settings of the commands that look at runs: runs, show, diff."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import setting


class Status(StrEnum):
    """The status of a run."""

    running = "running"  # a process holds its lock
    done = "done"  # it has a record
    failed = "failed"  # failure.txt says why, or its record cannot be read
    stopped = "stopped"  # it ended before its last step; the same command resumes it
    pruned = "pruned"  # its sweep ended it early, because others were better


class TextFormat(StrEnum):
    """The format in which a command prints."""

    text = "text"
    json = "json"
    csv = "csv"


class Order(StrEnum):
    """The order of the list of runs."""

    time = "time"
    name = "name"
    status = "status"
    score = "score"


@dataclass
class RunsConfig:
    """Settings of `anima-exp runs`."""

    folder: list[str] = setting(
        list, "Folders of runs, of a sweep, or of one run; without any it is runs."
    )
    status: list[Status] = setting(list, "Only runs with one of these statuses; [] = all.")
    sort: Order = setting(Order.time, "Order of the list; by time, the newest comes first.")
    limit: int | None = setting(40, "Show at most this many; null = all.", unit="runs", above=0)
    format: TextFormat = setting(TextFormat.text, "Print a table, JSON or CSV.")


@dataclass
class ShowConfig:
    """Settings of `anima-exp show`."""

    run: list[str] = setting(list, "The run's folder, or the beginning of its name in runs_dir.")
    runs_dir: str = setting("runs", "Folder in which names are looked up.")
    files: bool = setting(True, "List the files of the run.")
    format: TextFormat = setting(TextFormat.text, "Print text or JSON.")


@dataclass
class DiffConfig:
    """Settings of `anima-exp diff`."""

    runs: list[str] = setting(list, "Two runs: folders, or the beginnings of names in runs_dir.")
    runs_dir: str = setting("runs", "Folder in which names are looked up.")
    format: TextFormat = setting(TextFormat.text, "Print tables, JSON or CSV.")
