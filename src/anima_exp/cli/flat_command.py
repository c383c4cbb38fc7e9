"""Run a command without Hydra: its help, its exit status, and one line for a user's mistake."""

import shutil
from collections.abc import Callable, Sequence

from anima_exp.cli.program import status
from anima_exp.cli.short_help import asks_for_all, asks_for_help


def run_flat(name: str, arguments: Sequence[str], work: Callable[[list[str]], int | None]) -> int:
    """Do the work of a command, or print its help, and return the exit status.

    Args:
        name: the command, for its help.
        work: takes the arguments; returns an exit status, or None for success.
    """
    statuses: list[int] = []

    def do() -> None:
        if asks_for_help(arguments):
            _print_help(name, whole=asks_for_all(arguments))
        else:
            statuses.append(work([*arguments]) or 0)

    return status(do) or (statuses[0] if statuses else 0)


def _print_help(name: str, *, whole: bool) -> None:
    from anima_exp.cli.commands import COMMANDS
    from anima_exp.cli.short_help import long_help, short_help
    from anima_exp.system.terminal import write

    width = shutil.get_terminal_size((80, 24)).columns
    text = (long_help if whole else short_help)(COMMANDS[name], width)
    write(f"{text}\n")
