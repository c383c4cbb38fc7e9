"""What a finished run leaves behind: record.json, written last, so that it exists means done."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from anima_exp.results.files import read_json, write_json

RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """One finished run. Times are UTC, sizes GiB, losses nats per response token."""

    name: str
    settings: dict[str, Any]  # every setting, flattened: {"lora.rank": 64, ...}
    scores: dict[str, float]  # after training: heldout_loss, exact_match, ...
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
    predicted_memory_gib: float | None = None  # of training's peak, before the first step
    execution: dict[str, Any] = field(default_factory=dict)  # token_budget, recompute, ...
    processes: int = 1  # that shared each batch
    tokens_by_process: list[int] = field(default_factory=list)  # since the last start, by rank
    code: str = ""  # a hash over the package's modules
    results_version: int = 1  # identity.RESULTS_VERSION
    places: dict[str, str] = field(default_factory=dict)  # relative paths of settings, in full
    wandb: str | None = None  # the run's page, or the command that syncs it

    def save(self, folder: Path) -> None:
        write_json(folder / RECORD, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Record":
        known = {field.name for field in fields(cls)}
        values = read_json(folder / RECORD)
        return cls(**{key: value for key, value in values.items() if key in known})
