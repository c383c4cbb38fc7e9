"""Open the source of the training rows and of the held-out rows: a file, the hub, or the sample."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anima_exp.config import DataConfig
from anima_exp.data import readers
from anima_exp.data.readers import NumberedRow
from anima_exp.errors import DataError, first_line, without_password
from anima_exp.libraries import hub
from anima_exp.libraries.datasets_internals import identity_of


@dataclass(frozen=True)
class Source:
    """Rows that can be read as often as needed; until then only their fingerprint is known."""

    name: str  # as messages call it
    unit: str  # what a row's number counts: row or line
    fingerprint: str  # other rows, another fingerprint
    read: Callable[[], Iterator[NumberedRow]]

    def place(self, number: int) -> str:
        return f"{self.name}, {self.unit} {number}"


def training_source(config: DataConfig) -> Source:
    """Where the training rows come from, before any are held out.

    Raises:
        DataError: the file is missing or of an unknown kind, or the hub gave no such set.
    """
    if config.path:
        return _file(config.path, key="data.path", most=config.max_rows)
    if config.source == "sample":
        if config.max_rows is None:
            raise DataError(
                "data.source=sample generates rows without end. Set how many to use, for example "
                "data.max_rows=4000."
            )
        return _sample(config.split, config.max_rows)
    return _hub(config, config.split, most=config.max_rows)


def validation_source(config: DataConfig) -> Source | None:
    """The rows to hold out, where they have a file or split of their own."""
    if config.heldout_rows == 0:
        return None
    if config.heldout_path:
        return _file(config.heldout_path, key="data.heldout_path", most=None)
    if not config.heldout_split:
        return None
    if config.path:
        raise DataError(
            f"data.heldout_split={config.heldout_split} names a split of a hub data set, but "
            f"data.path={config.path} is a file. Use data.heldout_path=FILE."
        )
    if config.source == "sample":
        return _sample(config.heldout_split, config.heldout_rows)
    return _hub(config, config.heldout_split, most=None)


def check_hub(config: DataConfig) -> None:
    """Raise DataError if the hub has no such data set, before the library for it is imported."""
    place = config.source or ""
    if not config.path and hub.is_id(place) and not Path(place).is_dir():
        hub.check_data_set(
            place,
            where=f"data.source={place}",
            way_out="Use data=local data.path=FILE, or try again with a network.",
            revision=config.revision,
        )


def fingerprint(config: DataConfig) -> str:
    """What the rows are, as 64 hexadecimal digits; quick enough to ask at every start."""
    return joint_fingerprint(training_source(config), validation_source(config))


def joint_fingerprint(train: Source, held: Source | None) -> str:
    return _digest(train.fingerprint, held.fingerprint if held else None)


def _file(path: str, *, key: str, most: int | None) -> Source:
    file = readers.find(path, key=key)
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    return Source(
        name=path,
        unit=readers.row_or_line(file),
        fingerprint=_digest(readers.known_suffix(file), content, most),
        read=lambda: islice(readers.rows(file), most),
    )


def _sample(part: str, count: int) -> Source:
    from anima_exp.tiny.world import sample_rows

    if part not in ("train", "test"):
        raise DataError(f"The sample has the splits train and test, not '{part}'.")
    rows = sample_rows(count, language="zh", seed=0, part=part)
    return Source(
        name=f"sample ({part})",
        unit="row",
        fingerprint=_digest(rows),
        read=lambda: iter(enumerate(rows, start=1)),
    )


def _hub(config: DataConfig, split: str, *, most: int | None) -> Source:
    check_hub(config)
    from datasets import (  # type: ignore[import-untyped]
        load_dataset,
        load_dataset_builder,
    )

    chosen: dict[str, Any] = {
        "path": config.source,
        "name": config.subset,
        "data_files": config.data_files,
        "revision": config.revision,
    }

    def read() -> Iterator[NumberedRow]:
        # The first rows of a large set are streamed: FLAN v2 would be a download of 15M rows.
        try:
            with hub.no_retries(str(config.source)):
                rows = load_dataset(**chosen, split=split, streaming=most is not None)
                yield from enumerate(islice(rows, most), start=1)
        except Exception as error:  # whatever a server, a proxy or a broken archive can raise
            raise _no_answer(config, split, error) from error

    try:
        with hub.no_retries(str(config.source)):
            builder = load_dataset_builder(**chosen)
    except Exception as error:
        raise _no_answer(config, split, error) from error
    identity = identity_of(builder)  # known without a download
    return Source(
        name=without_password(f"{config.source} ({split})"),
        unit="row",
        fingerprint=_digest(identity, split, most),
        read=read,
    )


def _no_answer(config: DataConfig, split: str, error: Exception) -> DataError:
    reason = first_line(error).rstrip(".")
    return DataError(
        f"data.source={config.source} (split {split}) cannot be loaded: {reason}. "
        "Check the id, data.subset and data.split. For a gated data set, run `hf auth login`. "
        "Without a network, use HF_HUB_OFFLINE=1 for a data set that was downloaded before, or "
        "data=local data.path=FILE."
    )


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()
