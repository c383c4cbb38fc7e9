"""Apply a recipe to the rows of a source, and handle the rows that it cannot read."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar, cast

from anima_exp.config import BadRow, DataConfig
from anima_exp.config.data import GENERATED
from anima_exp.data.array_folder import opened_or_built
from anima_exp.data.chat import rules, templates
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.chat.reading import as_read
from anima_exp.data.example import Example, Row, TrackedRow, missing_column
from anima_exp.data.formats import Recipe
from anima_exp.data.orders import check_heldout
from anima_exp.data.parts import each
from anima_exp.data.source import Source, training_source, validation_source
from anima_exp.data.token_cache import Meta
from anima_exp.errors import DataError
from anima_exp.events import working

Given = list[Example] | list[Conversation]  # what a recipe reads in one row
T = TypeVar("T")

_ROWS_TO_TRY = 100  # before the error message suggests skipping bad rows


def check_rows(config: DataConfig) -> None:
    """Raise DataError if training would reject the rows of a local file, without a tokenizer.

    A data set on the hub is not read.
    """
    if config.parts:
        each(config, check_rows)
        return
    if not config.path and config.source not in GENERATED:
        return
    main, own = training_source(config), validation_source(config)
    usable = _usable(main, config)
    if own is None:
        check_heldout(config.heldout_rows, of=usable)
    else:
        _usable(own, config)


_counted: dict[
    tuple[str, str, BadRow, str | None], int
] = {}  # so that the cells of a sweep read a file once


def _usable(of: Source, config: DataConfig) -> int:
    """Return how many rows become at least one example."""
    key = (of.fingerprint, config.recipe, config.on_bad_row, config.template)
    if key not in _counted:
        _counted[key] = sum(bool(given) for _, given in read_all(of, config))
    return _counted[key]


def read_all(source: Source, config: DataConfig) -> Iterator[tuple[int, Given]]:
    """Yield the number of each row and what the recipe reads in it, without tokenizing it.

    Conversations are checked by the rules of data.template too, if it names a known format.

    Raises:
        DataError: if no row can be used, or a row cannot be used with data.on_bad_row=error.
    """
    of, recipe = as_read(source, config)
    alternate = templates.ALTERNATING.get(config.template or "", ())
    meta, any_used = Meta(), False

    def checked(given: Given) -> Given:
        for one in given:
            if isinstance(one, Conversation):
                rules.check(one, alternate=alternate)
        return given

    with working("tokenizing", of.name) as advance:
        stop = config.on_bad_row is BadRow.error
        for number, given in applied(of, recipe, meta, stop_at_bad_row=stop, then=checked):
            any_used = any_used or bool(given)
            yield number, given
            advance(len(given))
    if not any_used:
        raise nothing(of, meta)


def examples(of: Source, config: DataConfig) -> Iterator[tuple[int, Example]]:
    """Yield every example with the number of its row, without tokenizing it.

    Raises:
        DataError: see `read_all`.
    """
    for number, given in read_all(of, config):
        for one in only_examples(given):
            yield number, one


def applied(
    source: Source,
    recipe: Recipe,
    meta: Meta,
    *,
    stop_at_bad_row: bool,
    then: Callable[[Given], T],
) -> Iterator[tuple[int, T]]:
    """Yield the number of each usable row, and what `then` makes of the recipe's result.

    Args:
        then: may raise DataError too, for a row that cannot be used.

    Raises:
        DataError: at the first row that cannot be used, if `stop_at_bad_row`.
    """
    for number, row in source.read():
        meta.read += 1
        try:
            if isinstance(row, DataError):
                raise row
            tracked = TrackedRow(row)
            result = then(apply(recipe, tracked))
        except DataError as error:
            record_bad_row(source, number, error, recipe, meta, stop_at_bad_row=stop_at_bad_row)
            continue
        except Exception as error:  # a bug in the recipe keeps its traceback, with the row added
            error.add_note(f"data.recipe at {source.locate(number)}")
            raise
        tracked.count_unread(meta.unread)
        yield number, result


def record_bad_row(
    source: Source,
    number: int,
    error: DataError,
    recipe: Recipe,
    meta: Meta,
    *,
    stop_at_bad_row: bool,
) -> None:
    """Count a row that cannot be used, or raise its error. `meta` has counted that it was read."""
    where = source.locate(number)
    if not stop_at_bad_row:
        meta.record_skipped(where, str(error))
        return
    what = f"{where}: {error}"
    if meta.read == 1 and not _any_usable(source, recipe):
        raise DataError(
            f"{what}. The next rows cannot be used either. Check that data.recipe fits this data."
        ) from error
    raise bad_row(what) from error


def _any_usable(source: Source, recipe: Recipe) -> bool:
    """Return whether one of the first rows can be used, so that skipping bad rows leaves some."""
    for _, row in islice(source.read(), _ROWS_TO_TRY):
        with suppress(Exception):
            if not isinstance(row, DataError) and apply(recipe, row):
                return True
    return False


def apply(recipe: Recipe, row: Row) -> Given:
    """Return what a recipe reads in one row. Conversations are checked by the rules for all.

    Raises:
        DataError: if it cannot read the row.
    """
    try:
        returned = recipe(row)
    except KeyError as error:  # row["column"] in a user's recipe
        if not error.args or error.args[0] in row:
            raise
        raise missing_column(row, error.args[0]) from error
    given = returned if isinstance(returned, list) else [returned]
    for kind in (Example, Conversation):
        if all(isinstance(one, kind) for one in given):
            for one in given:
                if isinstance(one, Conversation):
                    rules.check(one)
            return cast(Given, given)
    raise DataError(
        f"the recipe returned {type(returned).__name__}, not an Example, a Conversation or a list "
        "of one of them"
    )


def only_examples(given: Given) -> list[Example]:
    """Return the examples that a recipe has read.

    Raises:
        DataError: if it has read conversations.
    """
    if given and isinstance(given[0], Conversation):
        raise DataError(
            "the recipe returned a Conversation. Name it in a format of conversations, "
            "Format(..., recipe=..., conversations=True), and use that format as data.recipe"
        )
    return cast(list[Example], given)


def only_conversations(given: Given) -> list[Conversation]:
    """Return the conversations that a recipe has read.

    Raises:
        DataError: if it has read examples.
    """
    if given and isinstance(given[0], Example):
        raise DataError("the recipe returned an Example, but its format has conversations=True")
    return cast(list[Conversation], given)


class WithMeta(Protocol):
    """The token ids of a source in the cache, with the statistics of what was read."""

    @property
    def meta(self) -> Meta: ...


Built = TypeVar("Built", bound=WithMeta)


def tokenized_once(
    folder: Path, opened: Callable[[Path], Built], build: Callable[..., Built], on_bad_row: BadRow
) -> Built:
    """Return the token ids in a folder of the cache, or build them there (array_folder.py).

    Raises:
        DataError: if a row cannot be used with data.on_bad_row=error, or the cache is not writable.
    """
    tokens = opened_or_built(folder, opened, build)
    if on_bad_row is BadRow.error and tokens.meta.skipped:  # written by a run that skips bad rows
        raise bad_row(tokens.meta.shown[0])
    return tokens


def bad_row(what: str) -> DataError:
    """Return the error of a row that stops the run."""
    return DataError(f"{what}. Use data.on_bad_row=skip to leave out and count such rows.")


def nothing(source: Source, meta: Meta) -> DataError:
    """Return the error of a source without a usable row."""
    if not meta.shown:
        return DataError(f"{source.name} contains no rows.")
    return DataError(f"None of the {meta.read} rows can be used. The first: {meta.shown[0]}.")
