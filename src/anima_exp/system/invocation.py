"""Write commands for a user in the form in which this process was started.

A user who typed `anima-exp train` reads `anima-exp compare ...`, and one who typed
`python -m anima_exp.train` reads `python -m anima_exp.compare ...`.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import PurePath

_PROGRAM = "anima-exp"
_MODULES = {"data": "inspect_data", "check": "self_check"}  # of commands with another name


def program(command: str) -> list[str]:
    """`train` -> [anima-exp, train] or [python, -m, anima_exp.train]."""
    started = PurePath(sys.argv[0] if sys.argv else "")
    if started.stem == _PROGRAM:
        return [_PROGRAM, command]
    if started.parts[-2:] == ("anima_exp", "__main__.py"):
        return ["python", "-m", "anima_exp", command]
    return ["python", "-m", f"anima_exp.{_MODULES.get(command, command)}"]


def command_line(command: str, arguments: Iterable[str] = ()) -> str:
    """Return a line for a shell: `anima-exp compare runs/sweeps/demo-1f0c`."""
    return shlex.join([*program(command), *arguments])


def program_length(words: Sequence[str]) -> int:
    """Return how many words of a command line name the program and the command.

    They are 2 of `anima-exp train`, 3 of `python -m anima_exp.train`, and 4 of
    `python -m anima_exp train`.
    """
    if words[:1] == [_PROGRAM]:
        return 2
    return 4 if words[2:3] == ["anima_exp"] else 3
