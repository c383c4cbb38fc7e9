"""Describe what was noticed while the rows of a data set were tokenized, by heading."""

from collections.abc import Iterable

from anima_exp.data.example import CONVERSATION
from anima_exp.data.token_cache import Meta

_MAX_NAMES = 10


def notes(metas: Iterable[Meta], *, examples: int, recipe: str) -> dict[str, str]:
    """Return the lines to print by their heading, without those that do not apply.

    Args:
        examples: the number of examples of all sources.
    """
    metas = list(metas)
    ends = sum(meta.ends for meta in metas)
    spelled = sum(meta.spelled for meta in metas)
    first = next((meta.first_spelled for meta in metas if meta.first_spelled), "")
    unread: dict[str, int] = {}
    for meta in metas:
        for column, rows in meta.unread.items():
            unread[column] = unread.get(column, 0) + rows
    said: dict[str, str] = {}
    if ends:
        said["BOS, EOS"] = (
            f"{ends / examples:.1%} of the rows already begin with BOS or end with EOS; "
            "each row has both exactly once"
        )
    if spelled:
        said["text"] = (
            f"{spelled:,} {_rows(spelled)} ({spelled / examples:.1%}) contain the text of a "
            f"special token, which is encoded as text (first: {first}). To encode it as the "
            "token, return Example(..., special_tokens=True) from your own recipe"
        )
    talk = {column: rows for column, rows in unread.items() if column in CONVERSATION}
    if talk:
        columns = ", ".join(f"{name} ({rows:,} {_rows(rows)})" for name, rows in talk.items())
        said["left out"] = (
            f"parts of conversations in columns that data.recipe={recipe} does not read: {columns}"
        )
    others = [column for column in unread if column not in CONVERSATION]
    if others:
        more = f" and {len(others) - _MAX_NAMES} more" if len(others) > _MAX_NAMES else ""
        names = ", ".join(str(name) or "one without a name" for name in others[:_MAX_NAMES])
        said["unread"] = f"columns that data.recipe={recipe} ignores: {names}{more}"
    return said


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
