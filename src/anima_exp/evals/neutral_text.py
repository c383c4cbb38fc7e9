"""Read the neutral text of evals.forgetting, and cut it into rows.

The text of a file or data set is read from its start: its documents one after the other, with an
empty line between them. It is cut into rows of equal length, and BOS begins each row if the
tokenizer has one. The tiny base never saw running text, so it reads English tasks of its world that
it was not trained on, and the loss is on their answers.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anima_exp.config import DataConfig, ForgettingConfig
from anima_exp.config.neutral_text import KEY, TINY, chosen
from anima_exp.data import source, templates
from anima_exp.data.encode import IGNORE, TextEncoder
from anima_exp.errors import AnimaError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from anima_exp.data.micro_batch import Row

_TINY_ROWS = 400
_TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class NeutralText:
    """The rows of the text, and where they come from."""

    name: str
    rows: "tuple[Row, ...]"  # input_ids and labels
    fingerprint: str  # differs if the rows differ

    @property
    def longest(self) -> int:
        return max(len(row["input_ids"]) for row in self.rows)


def check(config: ForgettingConfig, base: str) -> None:
    """Raise DataError if the file of the text is missing, before torch is imported."""
    if config.path:
        with _naming():
            source.training_source(_data(chosen(config, base)))


def check_hub(config: ForgettingConfig, base: str) -> None:
    """Raise DataError if the hub has no such text, or cannot be reached."""
    config = chosen(config, base)
    if config.source != TINY:
        with _naming():
            source.check_hub(_data(config))


def read(config: ForgettingConfig, base: str, tokenizer: "PreTrainedTokenizerBase") -> NeutralText:
    """Read and tokenize the text, before a model is loaded.

    Raises:
        DataError: if it cannot be read, or holds no text.
    """
    config = chosen(config, base)
    encoder = TextEncoder(tokenizer)
    rows = _tiny(config, encoder) if config.source == TINY else _cut(config, encoder)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.asarray(row["input_ids"], dtype="<i8").tobytes() + b"|")
    return NeutralText(str(config.path or config.source), tuple(rows), digest.hexdigest()[:32])


def _tiny(config: ForgettingConfig, encoder: TextEncoder) -> "list[Row]":
    from anima_exp.tiny.world import sample_rows

    rows: list[Row] = []
    tokens = 0
    for one in sample_rows(_TINY_ROWS, language="en", seed=0, part="test"):
        prompt, answer = encoder.encode([templates.guanaco(one["instruction"]), one["output"]])
        prompt, answer = [*encoder.begin, *prompt], [*answer, *encoder.end]
        tokens += len(prompt) + len(answer)
        if tokens > config.max_tokens and rows:
            break
        rows.append(_row([*prompt, *answer], unpredicted=len(prompt)))
    return rows


def _cut(config: ForgettingConfig, encoder: TextEncoder) -> "list[Row]":
    room = config.row_tokens - len(encoder.begin)
    ids: list[int] = []
    # Each row's BOS counts.
    wanted = config.max_tokens * room // config.row_tokens
    for texts in _batches(config):
        for found in encoder.encode(texts):
            ids += found
        if len(ids) >= wanted:
            break
    ids = ids[:wanted]
    rows = [
        _row([*encoder.begin, *ids[start : start + room]], unpredicted=1)
        for start in range(0, len(ids), room)
    ]
    rows = [row for row in rows if len(row["input_ids"]) > 1]
    if not rows:
        raise DataError(
            f"{KEY}.{'path' if config.path else 'source'}={config.path or config.source} holds no "
            f"text in the column {config.column}. Choose another text, or another "
            f"{KEY}.column."
        )
    return rows


def _batches(config: ForgettingConfig) -> Iterator[list[str]]:
    """Yield the documents in their order, many at once."""
    texts: list[str] = []
    with _naming():
        of = source.training_source(_data(config))
        for number, row in of.read():
            if isinstance(row, DataError):
                raise DataError(f"{of.locate(number)}: {row}.")
            found = row.get(config.column)
            if not isinstance(found, str):
                raise DataError(
                    f"{of.locate(number)} has no text in the column {config.column}. Its columns "
                    f"are {', '.join(row)}. Set {KEY}.column."
                )
            if found.strip():
                texts.append(f"{found.strip()}\n\n")
            if len(texts) == _TEXTS_AT_ONCE:
                yield texts
                texts = []
    if texts:
        yield texts


def _row(ids: list[int], *, unpredicted: int) -> "Row":
    found = np.asarray(ids, dtype=np.int64)
    labels = found.copy()
    labels[:unpredicted] = IGNORE
    return {"input_ids": found, "labels": labels}


def _data(config: ForgettingConfig) -> DataConfig:
    return DataConfig(
        name="text",
        recipe="text",
        source=config.source,
        subset=config.subset,
        split=config.split,
        path=config.path,
        prompt_template="guanaco",
    )


@contextmanager
def _naming() -> Iterator[None]:
    """Let errors name the settings of the evaluation: `evals.forgetting.path`, not `data.path`."""
    try:
        yield
    except AnimaError as error:
        message = str(error).replace("data=local data.path", "data.path")
        raise type(error)(re.sub(r"(?<![\w.])data\.(?=[a-z])", f"{KEY}.", message)) from error
