"""Find out how many rows a data set has and how long they are, before a run reads it.

The numbers come from an earlier run's cache, from a local file that is counted here, from
`data.length_stats`, or from the limits of the settings. They serve plans and not results.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from anima_exp.config import DataConfig, ModelConfig, RunConfig, TrainerConfig
from anima_exp.config.data import GENERATED
from anima_exp.data import formats, source
from anima_exp.data import orders as split
from anima_exp.data.apply_recipe import examples
from anima_exp.data.parts import each
from anima_exp.data.source import Source
from anima_exp.errors import NewerFileError
from anima_exp.events import note
from anima_exp.libraries import hub
from anima_exp.planner import conversation_lengths
from anima_exp.planner.length_stats import LengthStats, of_documents, of_mixture
from anima_exp.planner.memory import Rows
from anima_exp.planner.row_limits import (
    is_all_trained_on,
    longest_row,
    most_labels,
    most_rows,
)
from anima_exp.results import identity
from anima_exp.system import json_files, paths
from anima_exp.system.atomic import read_json, write_json
from anima_exp.system.paths import expanded, tiny_base

# With these cached statistics a sweep can print its token count before it reads any data, if some
# earlier run used the same data and tokenizer.
# By their first names, which the hash of a run goes by.
_NOT_IN_THE_LENGTH = {"data.max_train_samples", "data.train_on_source"}


def save_stats(config: RunConfig, lengths: LengthStats, *, cache: Path) -> None:
    """Write the statistics to the cache.

    With data.max_train_rows they cover a part of the rows, so they replace no others. If the cache
    cannot be written, only a later plan loses its numbers.
    """
    if config.data.max_train_rows is not None and load_stats(config, cache=cache):
        return
    file = _stats_file(config, cache)
    if json_files.is_newer(file, json_files.LENGTHS):
        note(json_files.not_used(file))
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, json_files.stamp(asdict(lengths), json_files.LENGTHS))


def load_stats(config: RunConfig, *, cache: Path) -> LengthStats | None:
    file = _stats_file(config, cache)
    try:
        return LengthStats(**json_files.read_versioned(read_json(file), file, json_files.LENGTHS))
    except (OSError, ValueError, TypeError, AttributeError, NewerFileError):
        return None


def tokens(config: RunConfig, known: LengthStats | None) -> int | None:
    """Return about how many tokens a run trains on; None without statistics."""
    trainer = config.trainer
    if known is None:
        return None
    if trainer.max_steps is not None:
        rows: float = trainer.max_steps * trainer.batch_size
    else:
        rows = min(known.rows, config.data.max_train_rows or known.rows) * (trainer.num_epochs or 0)
    return round(rows * known.mean_tokens)


def _stats_file(config: RunConfig, cache: Path) -> Path:
    settings = {
        key: value
        for key, value in identity.identity_settings(config).items()
        if key.startswith(("data.", "model.")) and key not in _NOT_IN_THE_LENGTH
    }
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return cache / "lengths" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


# Rows of a local file are counted without torch, with the tokenizer's own file. The statistics are
# cached for the next plan, and a run replaces them with its own.
_BATCH = 1000  # examples tokenized in one call

Counts = tuple[list[int], list[int], int]  # tokens of each prompt and response, rows used

_counted: dict[tuple[Any, ...], Counts] = {}  # the cells of a sweep read a file once


def read_lengths(config: RunConfig) -> LengthStats | None:
    """Return the statistics of a local file; None if data or tokenizer are not on this machine.

    Raises:
        DataError: if a row cannot be used, or too few are left to train on.
    """
    data = config.data
    if data.parts:
        return of_mixture(data, each(data, lambda part: read_lengths(replace(config, data=part))))
    file = tokenizer_file(config.model)
    if file is None or not data.path:
        return None
    rows = source.training_source(data)
    if formats.holds_conversations(data.recipe):
        return _of_conversations(rows, data, file)
    state = file.stat()
    key = (rows.fingerprint, data.recipe, data.on_bad_row, file, state.st_size, state.st_mtime_ns)
    if key not in _counted:
        _counted[key] = _count(rows, config, file)
    prompts, responses, used = _counted[key]
    left = used
    if source.validation_source(data) is None:
        split.check_heldout(data.heldout_rows, of=used)
        left -= data.heldout_rows
    if formats.holds_documents(data.recipe):
        return of_documents(np.add(prompts, responses), left / used, data.max_tokens)
    prompt = np.minimum(prompts, data.max_prompt_tokens)
    response = np.minimum(responses, data.max_response_tokens)
    # Held-out rows are drawn at random, so the mean of all rows estimates that of the others.
    return LengthStats(
        rows=round(len(prompts) * left / used),
        mean_tokens=float((prompt + response).mean()),
        mean_label_tokens=float(response.mean()),
    )


def _of_conversations(rows: Source, data: DataConfig, file: Path) -> LengthStats | None:
    """Return the estimated statistics; None if every conversation seems to be too long."""
    found = conversation_lengths.estimate(rows, data, file)
    if not found.used:
        return None
    left = found.used
    if source.validation_source(data) is None:
        split.check_heldout(data.heldout_rows, of=found.read)
        # Held-out rows are drawn from all rows, usable or not.
        left = max(round(left * (1 - data.heldout_rows / found.read)), 1)
    return LengthStats(
        rows=round(len(found.tokens) * left / found.used),
        mean_tokens=float(np.mean(found.tokens)),
        mean_label_tokens=float(np.mean(found.labels)),
    )


def _count(rows: Source, config: RunConfig, file: Path) -> Counts:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    begin = 1 if _has_bos(file) else 0
    prompts: list[int] = []
    responses: list[int] = []
    used: set[int] = set()
    batch: list[tuple[str, str]] = []

    def count() -> None:
        texts = [prompt for prompt, _ in batch] + [response for _, response in batch]
        ids = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        prompts.extend(begin + len(one) for one in ids[: len(batch)])
        responses.extend(len(one) + 1 for one in ids[len(batch) :])  # and EOS
        batch.clear()

    for number, one in examples(rows, config.data):
        used.add(number)
        batch.append((one.prompt, one.response))
        if len(batch) == _BATCH:
            count()
    if batch:
        count()
    return prompts, responses, len(used)


def tokenizer_file(model: ModelConfig) -> Path | None:
    """Return the tokenizer.json of a local folder, or of a model that was downloaded before."""
    place = model.tokenizer or model.source
    folder = tiny_base() if place == "tiny" else expanded(place, "model.source")
    if folder.is_dir():
        file = folder / "tokenizer.json"
        return file if file.is_file() else None
    return hub.downloaded(place, "tokenizer.json", None if model.tokenizer else model.revision)


def _has_bos(file: Path) -> bool:
    try:
        settings = json.loads(file.with_name("tokenizer_config.json").read_text(encoding="utf-8"))
        return bool(settings.get("bos_token"))
    except (OSError, ValueError, AttributeError):
        return False


# The beginning of a note.
UPPER_BOUND = "The rows are unknown until a run reads the data, so they are as long as allowed:"

# Tokens of the largest of thousands of random batches, relative to the mean batch. An assumption.
_LARGEST_BATCH = 1.5


@dataclass(frozen=True)
class Lengths:
    """Lengths of the rows of a run, as a plan assumes them."""

    source: str  # where the numbers come from, for the report
    rows: int | None  # training rows; None = unknown
    mean_tokens: float  # per row
    mean_labels: float  # per row, label tokens
    largest: Rows
    upper_bound: bool = False  # nothing is known but what the settings limit

    def steps(self, config: RunConfig) -> int | None:
        """Return the optimizer steps of the run; None if they depend on an unknown row count."""
        trainer = config.trainer
        if trainer.max_steps is not None:
            return trainer.max_steps
        return None if self.rows is None else optimizer_steps(trainer, self.rows)


def rows_in_all(trainer: TrainerConfig, rows: int) -> int:
    """Return how many rows a run trains on, repeats counted, if there are `rows` of them.

    `trainer.num_epochs` counts rows exactly: with epochs=2 every row is used twice, and the last
    batch is short if the batches do not come out even.
    """
    if trainer.max_steps is not None:
        return trainer.max_steps * trainer.batch_size
    assert trainer.num_epochs is not None
    # Rounded first: 1.1 x 1000 is a little more than 1100 in binary.
    return max(1, ceil(round(trainer.num_epochs * rows, 6)))


def optimizer_steps(trainer: TrainerConfig, rows: int) -> int:
    """Return the number of optimizer steps of a run over `rows` rows."""
    return ceil(rows_in_all(trainer, rows) / trainer.batch_size)


def lengths(config: RunConfig) -> Lengths:
    """Return the lengths of a run's rows from the best source that is available.

    In this order: an earlier run on the same data, a local file, data.length_stats, and the limits
    of the settings: data.max_train_rows, and the lengths, which every row is assumed to reach.

    Raises:
        DataError: if a row of the file cannot be used.
    """
    data = config.data
    most = longest_row(data)
    cache = paths.cache(config.cache_dir)
    known = load_stats(config, cache=cache)
    origin = "read by an earlier run"
    if known is None and (known := read_lengths(config)):
        save_stats(config, known, cache=cache)
        origin = "read from the file"
    rows: int | None
    labels: float | None
    if known is not None:
        rows, mean, labels = known.rows, known.mean_tokens, known.mean_label_tokens
    elif data.length_stats is not None:
        origin = "from data.length_stats"
        if data.source not in GENERATED:
            origin += ", counted with LLaMA's tokenizer"
        rows, mean = data.length_stats.rows, data.length_stats.mean_tokens
        labels = data.length_stats.mean_label_tokens
    else:
        limits = [one for one in (data.max_train_rows, most_rows(data)) if one]
        rows, mean, labels = min(limits, default=None), float(most), None
        assumed = f"{rows:,} rows, each " if rows else ""
        origin = f"unknown: assumed {assumed}as long as the limits allow, which is an upper bound"
    mean = min(mean, float(most))
    if is_all_trained_on(data):
        labels = mean
    elif labels is None:
        labels = mean * most_labels(data) / most
    labels = min(labels, mean)
    if rows is not None:
        rows = min(rows, data.max_train_rows or rows)
    bound = known is None and data.length_stats is None
    return Lengths(origin, rows, mean, labels, _largest(config, most, mean, labels), bound)


def _largest(config: RunConfig, most: int, mean: float, labels: float) -> Rows:
    batch = config.trainer.batch_size
    if not config.trainer.group_by_length:
        tokens = min(batch * most, ceil(_LARGEST_BATCH * batch * mean))
        return Rows(most, max(most, tokens), ceil(max(most, tokens) * labels / mean))
    return Rows(most, batch * most, batch * most_labels(config.data))
