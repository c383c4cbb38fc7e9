"""anima-exp help KEY: print the explanation of a setting, group, choice, metric or command."""

import shutil
import sys

from anima_exp.cli.program import status
from anima_exp.system.terminal import write


def main() -> int:
    """Explain each argument; without any, list the commands."""
    names = [one for one in sys.argv[1:] if one not in ("-h", "--help")]

    def work() -> None:
        from anima_exp.cli import overview
        from anima_exp.cli.commands import COMMANDS
        from anima_exp.cli.explain import explain
        from anima_exp.cli.short_help import short_help

        width = shutil.get_terminal_size((80, 24)).columns
        if not names:
            named = len(sys.argv) > 1
            write((short_help(COMMANDS["help"], width) if named else overview.text(width)) + "\n")
            return
        for number, name in enumerate(names):
            write("\n" * bool(number) + explain(name, width) + "\n")

    return status(work)
