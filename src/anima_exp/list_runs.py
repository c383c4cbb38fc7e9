"""List the runs of a folder: status, step, age, main score.

anima-exp runs                              # all runs in runs/, the newest first
anima-exp runs runs/sweeps/NAME status=failed
"""

import sys
from pathlib import Path

from anima_exp.cli.flat_command import run_flat
from anima_exp.cli.flat_settings import parse
from anima_exp.inspection.options import Order, RunsConfig, TextFormat


def main() -> int:
    """Run the command with the arguments of `sys.argv`."""
    return run_flat("runs", sys.argv[1:], show_runs)


def show_runs(arguments: list[str]) -> None:
    """Print the list of runs."""
    config = parse(arguments, RunsConfig, words="folder")
    from anima_exp.inspection.listing import ordered, runs_in

    result = runs_in([Path(folder) for folder in config.folder or ["runs"]])
    runs = [run for run in result if not config.status or run.status in config.status]
    if config.sort is not Order.time:
        runs = ordered(runs, config.sort.value)
    shown = runs[: config.limit] if config.format is TextFormat.text else runs
    from anima_exp.system.terminal import write

    if config.format is TextFormat.text:
        from anima_exp.cli.program import console
        from anima_exp.inspection.console import show_list

        show_list(shown, console(), every=result, more=len(runs) - len(shown))
    else:
        from anima_exp.inspection.export import list_as_csv, list_as_json

        write((list_as_json if config.format is TextFormat.json else list_as_csv)(shown))


if __name__ == "__main__":
    sys.exit(main())
