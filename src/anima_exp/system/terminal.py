"""Print text that may come from other people's files, with its control characters escaped.

Commands print everything through the functions of this module, or through a console that it makes.
"""

import io
import os
import stat
import sys
import unicodedata
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from anima_exp.errors import without_password

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def printable(text: str) -> str:
    """Return a text with its control characters escaped, except line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) != "Cc" else repr(letter)[1:-1]
        for letter in text
    )


def escape_unencodable(encoding: str | None = None) -> None:
    """Let stdout and stderr write characters that their encoding lacks as \\uXXXX.

    Otherwise a run would end with UnicodeEncodeError at its first Chinese answer in a Latin-1
    terminal.

    Args:
        encoding: the new encoding of both; None keeps the terminal's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # its file may have been replaced by a pipe
                stream.reconfigure(encoding=encoding, errors="backslashreplace")


class _Pipe(io.FileIO):
    """A pipe to another program. What is written after its reader has closed it is dropped."""

    unread = False  # whether the reader has closed it

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.unread = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for libraries and child processes as well
            os.close(nowhere)
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let writing to stdout and stderr succeed after `| head` has closed the pipe.

    Otherwise a run would fail with BrokenPipeError at its next line.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is not io.TextIOWrapper or isinstance(_raw(stream), _Pipe):
            continue
        try:
            number = stream.fileno()
            if not stat.S_ISFIFO(os.fstat(number).st_mode):
                continue
            stream.flush()
        except (OSError, ValueError):  # it is closed
            continue
        pipe = _Pipe(number, "wb", closefd=False)
        pipe.name = stream.name
        unbuffered = stream.write_through  # PYTHONUNBUFFERED
        new = io.TextIOWrapper(
            cast(Any, pipe) if unbuffered else io.BufferedWriter(pipe),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=unbuffered,
        )
        setattr(sys, name, new)


def is_unread() -> bool:
    """Return whether stdout is a pipe that its reader has closed, as far as writing has shown."""
    return getattr(_raw(sys.stdout), "unread", False)


def _raw(stream: Any) -> Any:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def print_stderr(text: str) -> None:
    """Print a message of one line to stderr, after `anima_exp:`."""
    note(f"anima_exp: {text}")


def tell_lines(text: str) -> None:
    """Print a message to stderr that may have several lines, one for each mistake."""
    print(printable(f"anima_exp: {without_password(text)}"), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Print one line to stderr, next to the output of a command."""
    print(printable(without_password(text)).replace("\n", " "), file=sys.stderr, flush=True)


def dimmed(text: str) -> str:
    """Return a text in a fainter colour if stdout is a terminal that shows colours."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[2m{text}\x1b[0m"


def write(text: str) -> None:
    """Print `text` to stdout, with its control characters escaped."""
    print(printable(text), end="", flush=True)


def console(*, stderr: bool = False, width: int | None = None) -> "Console":
    """Return a rich console that escapes control characters and interprets no markup.

    Use `rich.text.Text` and `style=` for styles, because a name from a file may contain "[red]".
    """
    made: Console = _visible_console()(
        stderr=stderr, width=width, highlight=False, markup=False, emoji=False
    )
    return made


@cache
def _visible_console() -> Any:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class VisibleConsole(Console):
        def render_str(self, text: str, **how: Any) -> "Text":
            return super().render_str(printable(text), **how)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Any:  # what rich itself writes to move the cursor comes as segments of control
            for segment in super().render(renderable, options):
                yield (
                    segment if segment.control else Segment(printable(segment.text), segment.style)
                )

    return VisibleConsole
