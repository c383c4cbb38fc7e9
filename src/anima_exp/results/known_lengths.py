"""How many rows a data set has and how long they are, kept from run to run: for plans, not results.

A sweep tells how many tokens it will train on before it reads a row; it can where any run has
read the same data with the same tokenizer before.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from anima_exp import schema_version
from anima_exp.config import RunConfig
from anima_exp.errors import NewerFile
from anima_exp.results import identity
from anima_exp.results.files import read_json, write_json
from anima_exp.terminal import note

_NOT_IN_THE_LENGTH = {"data.max_train_samples", "data.train_on_source"}


@dataclass(frozen=True)
class Lengths:
    rows: int  # to learn from, before data.max_train_samples
    mean_tokens: float  # of one of them, as truncated
    mean_label_tokens: float | None = None  # of these, that the loss is taken on


def remember(config: RunConfig, lengths: Lengths, *, cache: Path) -> None:
    """Keep what a run has found. With data.max_train_samples it has not seen every row.

    Nothing is kept, and nothing is lost but a plan's figure, if the cache cannot be written.
    """
    if config.data.max_train_samples is not None and recall(config, cache=cache):
        return
    file = _file(config, cache)
    if schema_version.is_newer(file, schema_version.LENGTHS):
        note(schema_version.not_used(file))
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, schema_version.stamp(asdict(lengths), schema_version.LENGTHS))


def recall(config: RunConfig, *, cache: Path) -> Lengths | None:
    file = _file(config, cache)
    try:
        return Lengths(**schema_version.read(read_json(file), file, schema_version.LENGTHS))
    except (OSError, ValueError, TypeError, AttributeError, NewerFile):
        return None


def tokens(config: RunConfig, known: Lengths | None) -> int | None:
    """About how many tokens a run trains on; None where nobody has read its data before."""
    trainer = config.trainer
    if known is None:
        return None
    if trainer.steps is not None:
        rows: float = trainer.steps * trainer.batch_size
    else:
        rows = min(known.rows, config.data.max_train_samples or known.rows) * (trainer.epochs or 0)
    return round(rows * known.mean_tokens)


def _file(config: RunConfig, cache: Path) -> Path:
    settings = {
        key: value
        for key, value in identity.relevant(config).items()
        if key.startswith(("data.", "model.")) and key not in _NOT_IN_THE_LENGTH
    }
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return cache / "lengths" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
