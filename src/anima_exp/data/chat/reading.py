"""Decide how a source of conversations is read: data.recipe=auto, and OASST1's single messages."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial

from anima_exp.config import DataConfig
from anima_exp.data import formats
from anima_exp.data.arrow_rows import without_added_fields
from anima_exp.data.chat import recognize
from anima_exp.data.chat.any_shape import recipe_of
from anima_exp.data.chat.texts import is_tree_message, oasst1_trees
from anima_exp.data.example import Row
from anima_exp.data.formats import Recipe
from anima_exp.data.readers import NumberedRow
from anima_exp.data.source import Source
from anima_exp.errors import DataError
from anima_exp.events import say


def as_read(source: Source, config: DataConfig) -> tuple[Source, Recipe]:
    """Return the source and the recipe to read it with.

    data.recipe=auto recognizes the recipe. OASST1's rows of one message each are joined to trees,
    each of which is one row then, with the number of its first message.

    Raises:
        ConfigError: if there is no such recipe.
        DataError: if data.recipe=auto does not recognize the rows.
    """
    if source.from_arrow:
        source = replace(source, read=partial(_cleaned, source), from_arrow=False)
    if config.recipe == formats.AUTO:
        found = recognize.auto_of(source)
        _say_once(f"data     {source.name} is read as {found.recipe}: {found.reason}")
        return source, recipe_of(found.recipe)
    if config.recipe == "oasst1_chat":
        source = _joined(source)
    return source, formats.recipe(config.recipe)


_said: set[str] = set()


def _say_once(line: str) -> None:
    """Say a line once in a process, although a source may be read several times."""
    if line not in _said:
        _said.add(line)
        say(line)


def _cleaned(source: Source) -> Iterator[NumberedRow]:
    for number, row in source.read():
        if isinstance(row, DataError):
            yield number, row
        else:
            yield number, without_added_fields(dict(row))


def _joined(source: Source) -> Source:
    first = next((row for _, row in source.read() if not isinstance(row, DataError)), None)
    if first is None or not is_tree_message(first):
        return source

    @cache
    def trees() -> list[NumberedRow]:
        return _trees(source)

    def read() -> Iterator[NumberedRow]:
        return iter(trees())

    return Source(source.name, source.unit, source.fingerprint, read)


def _trees(source: Source) -> list[NumberedRow]:
    """Return the trees of a source, and its rows that cannot be read, in their order."""
    found: list[NumberedRow] = []
    messages: dict[object, int] = {}  # the row of each message

    def readable() -> Iterator[Row]:
        for number, row in source.read():
            if isinstance(row, DataError):
                found.append((number, row))
            else:
                messages[row.get("message_id")] = number
                yield row

    try:
        trees, lost = oasst1_trees(readable())
    except DataError as error:
        raise DataError(f"{source.name}: {error}") from error
    if lost:
        say(f"data     {lost:,} messages of {source.name} are left out: their parent is missing")
    found += [(messages[tree["message_tree_id"]], tree) for tree in trees]
    return sorted(found, key=lambda pair: pair[0])
