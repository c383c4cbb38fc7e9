"""The work of a command without Hydra -> its exit status; one line for a user's mistake."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from anima_exp.display.terminal_view import TerminalView
from anima_exp.errors import AnimaError, RunEnded, permissions
from anima_exp.events import listening
from anima_exp.system import terminal
from anima_exp.system.terminal import escape_unencodable, print_stderr

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_COLUMNS = 160


def status(work: Callable[[], None]) -> int:
    """Do the work; 0, or the exit status of the mistake or the stop that was told."""
    escape_unencodable()
    try:
        with permissions(), listening(TerminalView()):
            work()
    except (AnimaError, RunEnded) as error:
        print_stderr(str(error))
        return error.exit_status
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def console() -> "Console":
    """As wide as the terminal or as COLUMNS says; in a pipe, with room for a wide table."""
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return terminal.console(width=_PIPED_COLUMNS if free else None)
