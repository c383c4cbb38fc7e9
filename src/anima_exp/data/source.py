"""Open the source of training rows or held-out rows: a file, the hub, or the tiny world."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anima_exp.config import DataConfig
from anima_exp.config.data import GENERATED
from anima_exp.data import readers
from anima_exp.data.readers import NumberedRow
from anima_exp.errors import DataError, first_line, without_password
from anima_exp.libraries import hub
from anima_exp.libraries.datasets_internals import identity_of


@dataclass(frozen=True)
class Source:
    """Rows that can be read any number of times, and their fingerprint."""

    name: str  # for messages
    unit: str  # what a row's number counts: row or line
    fingerprint: str  # differs if the rows differ
    read: Callable[[], Iterator[NumberedRow]]
    from_arrow: bool = False  # the objects of a column all have the same fields

    def locate(self, number: int) -> str:
        """Return the position of a row for messages: `train.jsonl, line 3`."""
        return f"{self.name}, {self.unit} {number}"


def training_source(config: DataConfig) -> Source:
    """Return the source of the training rows, before any are held out.

    Raises:
        DataError: if the file is missing or of an unknown kind, or the hub has no such data set.
    """
    if config.path:
        return _file(config.path, key="data.path", limit=config.max_rows)
    if config.source in GENERATED:
        if config.max_rows is None:
            raise DataError(
                f"data.source={config.source} generates rows without end. Set how many to use, for "
                "example data.max_rows=4000."
            )
        return _generated(config.source, config.split, config.max_rows)
    return _hub(config, config.split, limit=config.max_rows)


def validation_source(config: DataConfig) -> Source | None:
    """Return the source of the held-out rows; None if they are drawn from the training source.

    Raises:
        DataError: see `training_source`.
    """
    if config.heldout_rows == 0:
        return None
    if config.heldout_path:
        return _file(config.heldout_path, key="data.heldout_path", limit=None)
    if not config.heldout_split:
        return None
    if config.path:
        raise DataError(
            f"data.heldout_split={config.heldout_split} names a split of a hub data set, but "
            f"data.path={config.path} is a file. Use data.heldout_path=FILE."
        )
    if config.source in GENERATED:
        return _generated(config.source, config.heldout_split, config.heldout_rows)
    return _hub(config, config.heldout_split, limit=None)


def check_hub(config: DataConfig) -> None:
    """Raise DataError if the hub has no such data set, before `datasets` is imported."""
    source = config.source or ""
    if not config.path and hub.is_id(source) and not Path(source).is_dir():
        hub.check_data_set(
            source,
            where=f"data.source={source}",
            way_out="Use data=local data.path=FILE, or try again with a network.",
            revision=config.revision,
        )


def fingerprint(config: DataConfig) -> str:
    """Return a hash of the rows as 64 hexadecimal digits, without downloading a data set."""
    return joint_fingerprint(training_source(config), validation_source(config))


def joint_fingerprint(train: Source, held: Source | None) -> str:
    """Return the fingerprint of the training rows and, if they have one, the held-out source."""
    return _digest(train.fingerprint, held.fingerprint if held else None)


def joint_fingerprint_of(parts: Mapping[str, str]) -> str:
    """Return the fingerprint of a mixture, whose parts have these."""
    return _digest("mixture", sorted(parts.items()))


def _file(path: str, *, key: str, limit: int | None) -> Source:
    file = readers.find(path, key=key, plain_text=True)
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    return Source(
        name=path,
        unit=readers.row_or_line(file),
        fingerprint=_digest(readers.known_suffix(file, plain_text=True), content, limit),
        read=lambda: islice(readers.rows(file), limit),
        from_arrow=file.suffix.lower() == ".parquet",
    )


def _generated(name: str, part: str, count: int) -> Source:
    from anima_exp.tiny.conversations import conversation_rows
    from anima_exp.tiny.world import sample_rows

    if part not in ("train", "test"):
        raise DataError(f"data.source={name} has the splits train and test, not '{part}'.")
    rows: Sequence[Mapping[str, Any]]
    if name == "sample_chat":
        rows = conversation_rows(count, part=part)
    else:
        rows = sample_rows(count, language="zh", seed=0, part=part)
    return Source(
        name=f"{name} ({part})",
        unit="row",
        fingerprint=_digest(rows),
        read=lambda: iter(enumerate(rows, start=1)),
    )


def _hub(config: DataConfig, split: str, *, limit: int | None) -> Source:
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
        # With a limit the rows are streamed: FLAN v2 would be a download of 15M rows.
        try:
            with hub.no_retries(str(config.source)):
                rows = load_dataset(**chosen, split=split, streaming=limit is not None)
                yield from enumerate(islice(rows, limit), start=1)
        except Exception as error:  # a server, a proxy or a broken archive may raise anything
            raise _hub_error(config, split, error) from error

    try:
        with hub.no_retries(str(config.source)):
            builder = load_dataset_builder(**chosen)
    except Exception as error:
        raise _hub_error(config, split, error) from error
    identity = identity_of(builder)  # known without a download
    return Source(
        name=without_password(f"{config.source} ({split})"),
        unit="row",
        fingerprint=_digest(identity, split, limit),
        read=read,
        from_arrow=True,
    )


def _hub_error(config: DataConfig, split: str, error: Exception) -> DataError:
    reason = first_line(error).rstrip(".")
    return DataError(
        f"data.source={config.source} (split {split}) cannot be loaded: {reason}. "
        "Check the id, data.subset and data.split. For a gated data set, run `hf auth login`. "
        "Without a network, use HF_HUB_OFFLINE=1 for a data set that was downloaded before, or "
        "data=local data.path=FILE."
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()
