"""Which run is better, and by how much?

python -m anima_exp.compare runs                        # every run in a folder
python -m anima_exp.compare runs/sweeps/lora_rank-1f0c  # the cells of a sweep
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from anima_exp.cli.program import console, status
from anima_exp.comparison.build import build
from anima_exp.comparison.export import FORMATS
from anima_exp.comparison.extra_scores import with_evaluations, with_ratings
from anima_exp.comparison.runs import State, load
from anima_exp.errors import ConfigError
from anima_exp.system.terminal import note, print_stderr, write

_ROWS = 30  # in the terminal


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    return status(lambda: compare(asked))


def compare(asked: argparse.Namespace) -> None:
    """Raises AnimaError: a path, an option or W&B is not what it should be."""
    _check(asked)
    runs = with_evaluations(load([Path(path) for path in asked.paths]))
    if asked.ratings:
        runs = with_ratings(runs, asked.ratings)
    comparison = build(
        runs,
        metric=asked.metric,
        filters=asked.filter,
        sort=asked.sort,
        best_per=asked.best_per,
        baseline=asked.baseline,
        top=asked.top,
    )
    if asked.format == "table":
        from anima_exp.comparison.console import show

        show(comparison, console(), top=asked.top or _ROWS)
    else:
        write(FORMATS[asked.format](comparison))
        if missing := comparison.counted(but=[State.done]):
            print_stderr(f"beside the done runs there are {missing}.")
        if asked.format in ("csv", "latex"):  # which hold nothing but their rows
            notes = (comparison.left_out, comparison.repeated, comparison.caution)
            for sentence in filter(None, notes):
                print_stderr(sentence)
    if asked.html:
        from anima_exp.comparison.page import write_page

        write_page(asked.html, comparison)
        note(f"Page: {asked.html}")
    if asked.wandb:
        from anima_exp.comparison.wandb_report import publish

        note(f"W&B: {publish(comparison)}")


def _check(asked: argparse.Namespace) -> None:
    """Raise ConfigError for an option that its output cannot follow."""
    if asked.top is not None and asked.top < 1:
        raise ConfigError(f"--top {asked.top} leaves no row. Give 1 or more.")
    if asked.baseline and asked.format == "csv":
        raise ConfigError(
            "--baseline has a table of its own, and --format csv holds one table only. "
            "Give --format json, markdown or latex."
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m anima_exp.compare",
        description="Compare finished runs: a leaderboard, what matters, and whether it is chance.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a run's folder, a sweep's, or a folder of runs")
    add("--metric", help="the score to compare by (default: the sweep's, else heldout_loss)")
    add("--sort", metavar="COLUMN", help="the word at the head of a column, or any setting")
    add(
        "--filter",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only runs with e.g. 'lora.rank>=8' (= != < <= > >=); may be given again",
    )
    add("--best-per", metavar="SETTING", help="only the best row for each value of a setting")
    add("--baseline", metavar="RUN|SETTING=VALUE", help="paired differences from this one")
    add("--ratings", type=Path, metavar="FILE", help="of a tournament: anima_exp.elo --out FILE")
    add("--top", type=int, metavar="N", help="only the first N rows (in the terminal 30)")
    add("--format", choices=["table", *FORMATS], default="table")
    add("--html", type=Path, metavar="FILE", help="write one self-contained page with plots")
    add("--wandb", action="store_true", help="save the comparison as a W&B workspace")
    return parser


if __name__ == "__main__":
    sys.exit(main())
