"""The table of commands: what each is for, an example, and which of its settings matter most.

This module and those that it imports import nothing heavy, so that `anima-exp` alone answers at
once.
"""

from anima_exp.cli.command import Command
from anima_exp.cli.commands_for_models import TRAIN, USE
from anima_exp.cli.commands_for_results import COMPARE, HELP

GROUPS = (("Train", TRAIN), ("Use a run", USE), ("Compare", COMPARE), ("Get help", HELP))

COMMANDS = {command.name: command for _, commands in GROUPS for command in commands}
# Names of modules, which users of `python -m anima_exp.NAME` know.
FORMER = {"self_check": "check", "self-check": "check", "inspect_data": "data"}


def find(name: str) -> Command | None:
    """Return the command called `name`, also by the name of its module."""
    return COMMANDS.get(FORMER.get(name, name))
