"""Compare runs: a leaderboard, which settings matter, and whether it is chance.

anima-exp compare runs                                       # every run in a folder
anima-exp compare runs/sweeps/NAME metric=mmlu html=a.html   # the cells of a sweep, and a page
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from anima_exp.cli.flat_command import run_flat
from anima_exp.cli.flat_settings import parse
from anima_exp.comparison.options import CompareConfig, CompareFormat
from anima_exp.errors import ConfigError

_ROWS = 30  # in the terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, or with those of `sys.argv`."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_flat("compare", given, lambda words: compare(read(words)))


def read(arguments: Sequence[str]) -> CompareConfig:
    """Return the settings of a command line.

    Raises:
        ConfigError: if there are no runs, or an option cannot be followed by the output.
    """
    config = parse(arguments, CompareConfig, words="runs")
    if not config.runs:
        raise ConfigError("No runs are given. Give run folders, a sweep's folder, or runs/.")
    if config.baseline and config.format is CompareFormat.csv:
        raise ConfigError(
            "baseline has a table of its own, and format=csv holds one table only. "
            "Use format=json, markdown or latex."
        )
    return config


def compare(config: CompareConfig) -> None:
    """Print the comparison, and write the other outputs that the settings name.

    Raises:
        AnimaError: if a path, a setting or W&B is not what it should be.
    """
    from anima_exp.cli.program import console
    from anima_exp.comparison.build import build
    from anima_exp.comparison.export import FORMATS
    from anima_exp.comparison.extra_scores import with_evaluations, with_ratings
    from anima_exp.comparison.runs import State, load
    from anima_exp.system.terminal import note, print_stderr, write

    runs = with_evaluations(load([Path(path) for path in config.runs]))
    if config.ratings:
        runs = with_ratings(runs, Path(config.ratings))
    comparison = build(
        runs,
        metric=config.metric,
        filters=config.filter,
        sort=config.sort,
        best_per=config.best_per,
        baseline=config.baseline,
        top=config.top,
    )
    if config.format is CompareFormat.table:
        from anima_exp.comparison.console import show

        show(comparison, console(), top=config.top or _ROWS)
    else:
        write(FORMATS[config.format.value](comparison))
        if missing := comparison.counted(but=[State.done]):
            print_stderr(f"Not all runs are done: {missing}.")
        if config.format in (CompareFormat.csv, CompareFormat.latex):  # which hold only their rows
            notes = (comparison.left_out, comparison.repeated, comparison.caution)
            for sentence in filter(None, notes):
                print_stderr(sentence)
    if config.html:
        from anima_exp.comparison.page import write_page

        write_page(Path(config.html), comparison)
        note(f"Page: {config.html}")
    if config.wandb:
        from anima_exp.comparison.wandb_report import publish

        note(f"W&B: {publish(comparison)}")


if __name__ == "__main__":
    sys.exit(main())
