"""Run a command without Hydra, and report errors of the user in one line."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from anima_exp.display.terminal_view import TerminalView
from anima_exp.errors import AnimaError, RunEnded, permissions
from anima_exp.events import listening
from anima_exp.system import terminal
from anima_exp.system.terminal import escape_unencodable, outlive_readers, print_stderr

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_COLUMNS = 160


def status(work: Callable[[], None]) -> int:
    """Run `work`; return 0, or the exit status of an error or a stop after printing it."""
    outlive_readers()
    escape_unencodable()
    try:
        with permissions(), listening(TerminalView()):
            work()
    except (AnimaError, RunEnded) as error:
        print_stderr(str(error))
        return error.exit_status
    return 0


def console() -> "Console":
    """Return a console as wide as the terminal or COLUMNS; in a pipe, wide enough for a table."""
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return terminal.console(width=_PIPED_COLUMNS if free else None)
