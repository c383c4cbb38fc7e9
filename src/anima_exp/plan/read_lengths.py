"""Measure how long the rows of a local file are, without torch: with the tokenizer's own file.

A plan would otherwise assume rows as long as the limits. The figures are kept for the next plan
(results/known_lengths.py); a run replaces them by its own.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from anima_exp import hub
from anima_exp.config import ModelConfig, RunConfig
from anima_exp.data import source, split
from anima_exp.data.source import Source
from anima_exp.data.tokenise import examples
from anima_exp.paths import expanded, tiny_base
from anima_exp.results.known_lengths import Lengths

_BATCH = 1000  # examples tokenised in one call

Counts = tuple[list[int], list[int], int]  # tokens of each prompt and response, rows used

_counted: dict[tuple[Any, ...], Counts] = {}  # the cells of a sweep read a file once


def read_lengths(config: RunConfig) -> Lengths | None:
    """Return the lengths of a local file's rows; None if the data or the tokenizer is elsewhere.

    Raises:
        DataError: a row cannot be used, or too few are left to train on.
    """
    data = config.data
    file = _tokenizer_file(config.model)
    if not data.path or file is None:
        return None
    rows = source.training(data)
    state = file.stat()
    key = (rows.fingerprint, data.recipe, data.on_bad_row, file, state.st_size, state.st_mtime_ns)
    if key not in _counted:
        _counted[key] = _count(rows, config, file)
    prompts, responses, used = _counted[key]
    left = used
    if source.heldout(data) is None:
        split.check_heldout(data.heldout_rows, of=used)
        left -= data.heldout_rows
    prompt = np.minimum(prompts, data.max_prompt_tokens)
    response = np.minimum(responses, data.max_response_tokens)
    # Held-out rows are drawn by chance: the mean of all rows is the mean of the others.
    return Lengths(
        rows=round(len(prompts) * left / used),
        mean_tokens=float((prompt + response).mean()),
        mean_label_tokens=float(response.mean()),
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


def _tokenizer_file(model: ModelConfig) -> Path | None:
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
