"""One column of a table of text, and what becomes of it where there is no room."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    heading: str
    texts: list[str]
    right: bool = True
    dropped: int = 0  # where there is no room, the highest goes first; 0 stays
    whole: bool = False  # never folded into several lines
    at_most: int | None = None  # where there is no room, it is folded to this width
