"""Define the record of a finished run: record.json, whose existence means that the run is done."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from anima_exp.config import RunConfig, TargetModules, config_of
from anima_exp.config.former_names import todays, whole
from anima_exp.errors import RunError, first_line
from anima_exp.system import json_files
from anima_exp.system.atomic import write_json
from anima_exp.system.paths import expanded

RECORD = "record.json"


@dataclass(frozen=True, repr=False)
class Record:
    """One finished run. Times are UTC, sizes GiB, losses nats per response token."""

    name: str
    settings: dict[str, Any]  # every setting, flattened: {"lora.rank": 64, ...}
    scores: dict[str, float]  # of the weights that the run leaves: heldout_loss, exact_match, ...
    scores_before: dict[str, float]  # the same at step 0
    steps: int
    tokens: int  # trained on, padding left out
    rows: dict[
        str, int
    ]  # read, skipped, train, heldout, truncated_prompts, truncated_responses ...
    parameters: dict[str, int]  # trainable, total
    train_seconds: float  # in training steps, over all starts
    eval_seconds: float
    peak_memory_gib: float  # of the GPU, or of the process on a CPU, evaluations included
    starts: int  # 1 + how often the run was interrupted
    finished: str
    data_fingerprint: str  # sha256 of the rows' source
    base_fingerprint: str  # the hub's commit, or sha256 of the folder's files
    versions: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)  # of the anima_exp checkout, if it is one
    hardware: dict[str, str] = field(default_factory=dict)
    peak_reserved_gib: float | None = None  # of the GPU, with what lay unused between tensors
    predicted_memory_gib: float | None = None  # of training's peak, before the first step
    execution: dict[str, Any] = field(default_factory=dict)  # token_budget, recompute, ...
    processes: int = 1  # that shared each batch
    tokens_by_process: list[int] = field(default_factory=list)  # since the last start, by rank
    code: str = ""  # a hash over the package's modules
    results_version: int = 1  # identity.RESULTS_VERSION
    places: dict[str, str] = field(default_factory=dict)  # relative paths of settings, in full
    wandb: str | None = None  # the run's page, or the command that syncs it
    tracking: dict[str, str] = field(default_factory=dict)  # the same by tracker, wandb among them
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)  # descriptions, by own score
    # With trainer.keep_best: the metric, its best value and the step whose weights are left; and
    # the scores of the last step.
    best: dict[str, Any] = field(default_factory=dict)
    scores_last: dict[str, float] = field(default_factory=dict)
    # Of a mixture: how much of each part an epoch has, by its name (data/mixture.py).
    parts: dict[str, Any] = field(default_factory=dict)
    # Of conversations: the template, what is trained on, what was cut (data/chat/summary.py).
    chat: dict[str, Any] = field(default_factory=dict)
    # What is trained: parameters by kind of module, positions, attention (training_report.py).
    report: dict[str, Any] = field(default_factory=dict)
    base_format: str = ""  # FP8, MXFP4: the base's files were dequantized to 16 bits first
    # 95 % intervals of scores, low and high: of forgetting, over the rows of the text.
    intervals: dict[str, list[float]] = field(default_factory=dict)
    ended: str = ""  # why before the planned last step
    # Where the record was read or written: not in the file. Relative if the run's folder was.
    folder: Path = field(default=Path(), compare=False)

    @property
    def scores_after(self) -> dict[str, float]:
        """The scores of the weights that the run leaves."""
        return self.scores

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter, for plain PEFT; None if the run trained every weight."""
        return None if self.trained.name == "model" else self.trained

    @property
    def trained(self) -> Path:
        """The folder of what was trained: the adapter, or the whole model."""
        full = self.settings.get("lora.target_modules") == TargetModules.none.value
        return self.folder / ("model" if full else "adapter")

    @property
    def config(self) -> RunConfig:
        """The settings as a config, to change, to train again or to sweep over."""
        return config_of(self.settings | self.places)

    @property
    def is_full_finetune(self) -> bool:
        """Return whether every weight was trained, without an adapter."""
        return bool(self.settings["lora.target_modules"] == "none")

    @property
    def left_at(self) -> int:
        """The step whose weights the run leaves."""
        return int(self.best.get("step", self.steps))

    def save(self, folder: Path) -> None:
        write_json(folder / RECORD, json_files.stamp(self.table(), json_files.RECORD))

    def table(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {key: value for key, value in asdict(self).items() if key != "folder"}

    @classmethod
    def load(cls, path: str | Path) -> "Record":
        """Read the record of a finished run.

        Args:
            path: the run's folder, or its record.json.

        Raises:
            RunError: if the run has not finished, its record cannot be read, or a later version of
                anima-exp wrote it.

        Examples:
            >>> again = ax.Record.load(record.folder)
            >>> again.scores_after == record.scores_after
            True
        """
        folder = expanded(path)
        folder = folder.parent if folder.name == RECORD else folder
        try:
            return cls.read(folder)
        except FileNotFoundError:
            begun = (folder / "settings.json").is_file()
            what = "has not finished" if begun else "is not a run folder"
            raise RunError(f"{folder} {what}: {why_no_record(folder)}.") from None
        except OSError as error:
            raise RunError(f"{folder / RECORD} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise RunError(f"{folder / RECORD} is damaged: {first_line(error)}.") from error

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read the record of any version up to now, with its settings under today's names.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it holds no record.
            NewerFileError: if a later version of anima-exp wrote it.
        """
        file = folder / RECORD
        values = json_files.read_versioned(json_files.read_table(file), file, json_files.RECORD)
        for one in fields(cls):
            if one.name == "folder":
                continue
            if one.name not in values:
                if one.default is MISSING and one.default_factory is MISSING:
                    raise ValueError(f"its {one.name} is missing")
            elif not _fits(values[one.name], one.type):
                raise ValueError(f"its {one.name} is {json_files.kind(values[one.name])}")
        known = {field.name for field in fields(cls)} - {"folder"}
        values["settings"] = whole(values["settings"])
        values["places"] = todays(values.get("places", {}))
        given = {key: value for key, value in values.items() if key in known}
        return cls(**given, folder=folder)

    def __str__(self) -> str:
        from anima_exp.results.record_table import text

        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from anima_exp.results.record_table import html

        return html(self)


def _fits(value: object, kind: Any) -> bool:
    """Return whether a JSON value is of the type that a field has."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is UnionType:
        return any(_fits(value, one) for one in inner)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def why_no_record(folder: Path) -> str:
    """Return what is wrong with a folder that has no record, and what to do."""
    if not folder.is_dir():
        return "there is no such folder. `anima-exp runs` lists the runs"
    if (folder / "sweep.json").is_file():
        return "it belongs to a sweep. `anima-exp compare FOLDER` lists its runs"
    return f"it contains no {RECORD}"
