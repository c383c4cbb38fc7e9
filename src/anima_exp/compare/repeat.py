"""The command that repeats the best cells with more seeds."""

import re
import shlex
from collections.abc import Sequence

from anima_exp.compare.leaderboard import Row
from anima_exp.compare.runs import Sweep
from anima_exp.paths import shipped

SEEDS = "seed=0,1,2"
_ANY = f"python -m anima_exp.train -m ... {SEEDS}"


def repeat(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    """Return the sweep's command with three seeds; of a search, those of its two best trials.

    A search would take the seeds for one more setting to choose from, and look for a lucky one. So
    its trials are repeated as grids, with seeds that they have not had.
    """
    if len({sweep.command for sweep in sweeps}) != 1:
        return _ANY
    words = shlex.split(sweeps[0].command)
    if not sweeps[0].is_search:
        return shlex.join([*(word for word in words if not _is_seed(word)), SEEDS])
    found = []
    for row in sorted(rows, key=lambda row: row.rank)[:2]:
        run = row.cell.runs[0]
        own = [word for word in run.overrides if not (_is_seed(word) or _is_shipped_grid(word))]
        # Of many trials the best is the best partly by luck: only new seeds show how much.
        first = run.seed + 1 if isinstance(run.seed, int) else 0
        seeds = f"seed={first},{first + 1},{first + 2}"
        found.append(shlex.join([*_start(words), "-m", *own, seeds]))
    return " and ".join(found)


def _is_seed(word: str) -> bool:
    return re.match(r"\+{0,2}seed=", word) is not None


def _is_shipped_grid(word: str) -> bool:
    """Whether it names a file that holds a grid and nothing else: a trial needs none of it."""
    name = word.removeprefix("sweep=")
    return name != word and (shipped("sweeps") / f"{name}.yaml").is_file()


def _start(words: Sequence[str]) -> list[str]:
    """`python -m anima_exp.train --config-dir FOLDER`."""
    kept, rest = list(words[:3]), list(words[3:])
    for place, word in enumerate(rest):
        if word.startswith("--config-dir="):
            kept.append(word)
        elif word in ("--config-dir", "-cd"):
            kept += rest[place : place + 2]
    return kept
