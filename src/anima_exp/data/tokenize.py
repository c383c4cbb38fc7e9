"""Tokenize the rows of a source once, and keep the token ids in the cache.

The cache key covers everything that the ids depend on: the rows, the tokenizer, the recipe and the
source text of its module. Lengths, labels and the split are applied when the ids are read, so they
cost nothing to change.
"""

import atexit
import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import BadRow, DataConfig
from anima_exp.data import formats
from anima_exp.data.array_folder import META
from anima_exp.data.encode import TextEncoder
from anima_exp.data.example import Example, Row, TrackedRow, missing_column
from anima_exp.data.formats import Recipe
from anima_exp.data.rows import check_heldout
from anima_exp.data.source import Source, training_source, validation_source
from anima_exp.data.token_cache import Meta, Tokens, TokenWriter, key, open_tokens
from anima_exp.errors import DataError, NewerFileError
from anima_exp.events import note, working
from anima_exp.system import json_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 1000  # examples tokenized in one call, which uses all cores
_ROWS_TO_TRY = 100  # before the error message suggests skipping bad rows
_BATCH_CHARACTERS = 4_000_000  # of one call; a tokenizer needs about 70 bytes for each

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def tokenize(
    source: Source, config: DataConfig, tokenizer: "PreTrainedTokenizerBase", *, cache: Path
) -> Tokens:
    """Return the token ids of every row, from the cache if it has them.

    Raises:
        DataError: if no row can be used, or a row cannot be used with data.on_bad_row=error.
        ConfigError: if there is no such recipe.
    """
    recipe = formats.recipe(config.recipe)
    folder = cache / "tokens" / key(source.fingerprint, recipe, tokenizer, named=config.recipe)
    stop_at_bad_row = config.on_bad_row is BadRow.error
    try:
        tokens = open_tokens(folder)
    except (OSError, ValueError, NewerFileError) as problem:
        build = partial(_build, source, recipe, tokenizer, stop_at_bad_row=stop_at_bad_row)
        if isinstance(problem, NewerFileError):
            note(json_files.not_used(folder / META))
            return build(target=_temporary_cache() / folder.name)
        try:
            tokens = build(target=folder)
        except OSError as error:  # from writing, because reading raises DataError
            if error.errno in _READ_ONLY:
                note(
                    f"data     {cache} is not writable, so the token ids are kept for this run only"
                )
                return build(target=_temporary_cache() / folder.name)
            raise DataError(
                f"Token ids cannot be written to {cache}: {error.strerror or error}. "
                "Choose another folder with cache_dir=FOLDER or ANIMA_EXP_CACHE."
            ) from error
    if stop_at_bad_row and tokens.meta.skipped:  # written by a run that skips bad rows
        raise _bad_row(tokens.meta.shown[0])
    return tokens


def _temporary_cache() -> Path:
    """Create a folder that exists as long as this process, if the cache cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="anima_exp-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "tokens"


def check_rows(config: DataConfig) -> None:
    """Raise DataError if training would reject the rows of a local file, without a tokenizer.

    A data set on the hub is not read.
    """
    if not config.path and config.source != "sample":
        return
    main, own = training_source(config), validation_source(config)
    usable = _usable(main, config)
    if own is None:
        check_heldout(config.heldout_rows, of=usable)
    else:
        _usable(own, config)


_counted: dict[tuple[str, str, BadRow], int] = {}  # so that the cells of a sweep read a file once


def _usable(of: Source, config: DataConfig) -> int:
    """Return how many rows become at least one example."""
    key = (of.fingerprint, config.recipe, config.on_bad_row)
    if key not in _counted:
        _counted[key] = len({number for number, _ in examples(of, config)})
    return _counted[key]


def examples(of: Source, config: DataConfig) -> Iterator[tuple[int, Example]]:
    """Yield every example with the number of its row, without tokenizing it.

    Raises:
        DataError: if no row can be used, or a row cannot be used with data.on_bad_row=error.
    """
    recipe = formats.recipe(config.recipe)
    meta, any_used = Meta(), False
    with working("tokenizing", of.name) as advance:
        stop = config.on_bad_row is BadRow.error
        for pair in _pairs(of, recipe, meta, None, stop_at_bad_row=stop):
            any_used = True
            yield pair
            advance(1)
    if not any_used:
        raise _nothing(of, meta)


def _build(
    source: Source,
    recipe: Recipe,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    target: Path,
    stop_at_bad_row: bool,
) -> Tokens:
    encoder = TextEncoder(tokenizer)
    with TokenWriter(target) as draft, working("tokenizing", source.name) as advance:
        pairs = _pairs(source, recipe, draft.meta, encoder, stop_at_bad_row=stop_at_bad_row)
        for batch in _batches(pairs):
            ids = _ids(encoder, batch)
            draft.add(
                (row, encoder.begin + prompt, response + encoder.end)
                for (row, _), prompt, response in zip(
                    batch, ids[: len(batch)], ids[len(batch) :], strict=True
                )
            )
            advance(len(batch))
        if not len(draft):
            raise _nothing(source, draft.meta)
        return draft.commit()


def _batches(pairs: Iterator[tuple[int, Example]]) -> Iterator[list[tuple[int, Example]]]:
    batch: list[tuple[int, Example]] = []
    characters = 0
    for row, pair in pairs:
        batch.append((row, pair))
        characters += len(pair.prompt) + len(pair.response)
        if len(batch) == _BATCH or characters > _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _ids(encoder: TextEncoder, batch: list[tuple[int, Example]]) -> list[list[int]]:
    """Return the ids of all prompts, then those of all responses."""
    texts = [pair.prompt for _, pair in batch] + [pair.response for _, pair in batch]
    special_tokens = [pair.special_tokens for _, pair in batch] * 2
    if not any(special_tokens):
        return encoder.encode(texts)
    ids: dict[int, list[int]] = {}
    for special in (False, True):
        chosen = [number for number, flag in enumerate(special_tokens) if flag is special]
        encoded = encoder.encode([texts[number] for number in chosen], special_tokens=special)
        ids |= zip(chosen, encoded, strict=True)
    return [ids[number] for number in range(len(texts))]


def _pairs(
    source: Source,
    recipe: Recipe,
    meta: Meta,
    encoder: TextEncoder | None,
    *,
    stop_at_bad_row: bool,
) -> Iterator[tuple[int, Example]]:
    """Yield each example with the number of its row.

    Without an encoder, BOS and EOS are not removed from the texts.
    """
    for number, row in source.read():
        meta.read += 1
        before = meta.read > 1
        try:
            if isinstance(row, DataError):
                raise row
            tracked = TrackedRow(row)
            given = _apply(recipe, tracked)
            pairs = [encoder.without_bos_and_eos(pair) for pair in given] if encoder else given
        except DataError as error:
            if stop_at_bad_row:
                what = f"{source.locate(number)}: {error}"
                if not before and not _any_usable(source, recipe):
                    raise DataError(
                        f"{what}. The next rows cannot be used either. Check that data.recipe fits "
                        "this data."
                    ) from error
                raise _bad_row(what) from error
            meta.record_skipped(source.locate(number), str(error))
            continue
        except Exception as error:  # a bug in the recipe keeps its traceback, with the row added
            error.add_note(f"data.recipe at {source.locate(number)}")
            raise
        tracked.count_unread(meta.unread)
        for pair, original in zip(pairs, given, strict=True):
            meta.ends += pair is not original
            if encoder and not pair.special_tokens:
                token = encoder.spelled(pair.prompt) or encoder.spelled(pair.response)
                if token:
                    meta.first_spelled = meta.first_spelled or f"{source.locate(number)}: {token}"
                    meta.spelled += 1
            yield number, pair


def _any_usable(source: Source, recipe: Recipe) -> bool:
    """Return whether one of the first rows can be used, so that skipping bad rows leaves some."""
    for _, row in islice(source.read(), _ROWS_TO_TRY):
        with suppress(Exception):
            if not isinstance(row, DataError) and _apply(recipe, row):
                return True
    return False


def _apply(recipe: Recipe, row: Row) -> list[Example]:
    try:
        returned = recipe(row)
    except KeyError as error:  # row["column"] in a user's recipe
        if not error.args or error.args[0] in row:
            raise
        raise missing_column(row, error.args[0]) from error
    pairs = returned if isinstance(returned, list) else [returned]
    if not all(isinstance(pair, Example) for pair in pairs):
        raise DataError(f"the recipe returned {type(returned).__name__}, not an Example or a list")
    return pairs


def _bad_row(what: str) -> DataError:
    return DataError(f"{what}. Use data.on_bad_row=skip to leave out and count such rows.")


def _nothing(source: Source, meta: Meta) -> DataError:
    if not meta.shown:
        return DataError(f"{source.name} contains no rows.")
    return DataError(f"None of the {meta.read} rows can be used. The first: {meta.shown[0]}.")
