"""List the commands, or run one.

anima-exp                                          # every command with an example
anima-exp train model=guanaco33b data=belle_merge  # the same as python -m anima_exp.train ...
"""

import sys
from importlib import import_module


def main() -> None:
    """Run the command that `sys.argv` names; its own arguments are left in `sys.argv`."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "--help", "--version"):
        from anima_exp.cli import overview
        from anima_exp.cli.program import status

        status(lambda: overview.show(version=name == "--version"))
        return
    if name == "complete":  # hidden: what the scripts of `anima-exp completion` call
        from anima_exp.cli.completion import answer

        answer(sys.argv[2:])
        return
    from anima_exp.cli.commands import find

    command = find(name)
    if command is None:
        from anima_exp.cli.overview import unknown_command
        from anima_exp.system.terminal import print_stderr

        print_stderr(unknown_command(name))
        sys.exit(2)
    del sys.argv[1]
    if command.config and _asks_for_short_help(sys.argv[1:]):
        from anima_exp.cli.short_help import print_short_help

        print_short_help(name)  # without Hydra, which the command's module would import
        return
    exit_status = import_module(f"anima_exp.{command.module}").main()
    if exit_status:
        sys.exit(exit_status)


def _asks_for_short_help(arguments: list[str]) -> bool:
    from anima_exp.cli.short_help import asks_for_all, asks_for_help

    return asks_for_help(arguments) and not asks_for_all(arguments)


if __name__ == "__main__":
    main()
