"""Who is the best, and how sure is that?

python -m anima_exp.elo ratings/vicuna                       # a folder of verdicts
python -m anima_exp.elo ratings/*.jsonl --matches 500        # Elo as QLoRA's Table 1
python -m anima_exp.elo rounds.jsonl --one-pass --initial A=1100 --initial B=900
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anima_exp.cli.program import console, status
from anima_exp.errors import ConfigError
from anima_exp.system import json_files
from anima_exp.system.terminal import note, write
from anima_exp.tournament.options import DIFFERENT, FORMATS, TIES, UNPARSED, Options


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    return status(lambda: rate(asked))


def rate(asked: argparse.Namespace) -> None:
    """Raises AnimaError: a path, a row or an option is not what it should be."""
    from anima_exp.tournament.export import WRITERS
    from anima_exp.tournament.players import read_answers
    from anima_exp.tournament.progress import Progress
    from anima_exp.tournament.rate import tournament
    from anima_exp.tournament.reading import read
    from anima_exp.tournament.verdicts import verdicts

    options, progress = _options(asked), Progress()
    found, notes = verdicts(
        read([Path(path) for path in asked.paths], say=progress.stage("verdicts read")),
        answers=read_answers([Path(path) for path in asked.answers]),
        questions=asked.questions,
        different=asked.different_questions,
        trust_names=asked.trust_names,
    )
    result = tournament(found, options, notes=notes, progress=progress.stage)
    if asked.out:
        from anima_exp.system.atomic import atomic_write_text, user_output

        with user_output(asked.out, way_out="Give another --out FILE."):
            atomic_write_text(asked.out, WRITERS["json"](result))
        note(f"Result: {asked.out}")
    if asked.html:
        from anima_exp.tournament.page import write_page

        write_page(asked.html, result)
        note(f"Page: {asked.html}")
    if asked.format == "table":
        from anima_exp.tournament.report import show

        show(result, console())
    else:
        write(WRITERS[asked.format](result))


def _options(asked: argparse.Namespace) -> Options:
    for name in ("orders", "matches", "samples"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: it must be at least 1.")
    if asked.seed < 0:
        raise ConfigError(f"--seed {asked.seed}: it must be 0 or more.")
    if not math.isfinite(asked.start):
        raise ConfigError(f"--start {asked.start:g}: it must be a number; 1000 is usual.")
    if not (math.isfinite(asked.k) and asked.k > 0):
        raise ConfigError(f"--k {asked.k:g}: a win must move ratings up; 32 is usual.")
    if asked.initial and not asked.one_pass:
        raise ConfigError("--initial is where one pass begins: give --one-pass too.")
    return Options(
        orders=asked.orders,
        matches=asked.matches,
        k=asked.k,
        start=asked.start,
        seed=asked.seed,
        ties=asked.ties,
        unparsed=asked.unparsed,
        reference=asked.reference,
        samples=asked.samples,
        one_pass=asked.one_pass,
        initial=_initial(asked.initial),
    )


def _initial(given: Sequence[str]) -> dict[str, float]:
    """`NAME=RATING`, or a JSON file of {"NAME": RATING}."""
    found: dict[str, float] = {}
    for one in given:
        name, equals, text = one.rpartition("=")
        try:
            if equals:
                found[name] = _finite(text)
            else:
                read = json_files.read_file(Path(one))
                found |= {str(name): _finite(value) for name, value in read.items()}
        except (OSError, ValueError, OverflowError, TypeError, AttributeError):
            raise ConfigError(
                f'--initial {one}: give NAME=RATING, or a JSON file of {{"NAME": RATING}}.'
            ) from None
    return found


def _finite(value: Any) -> float:
    """Raises ValueError or TypeError: it is no number."""
    if not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m anima_exp.elo",
        description="Verdicts of a judge -> scores, ratings, and what the judge is biased by.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="files of verdicts, or folders of *.jsonl")
    add("--answers", nargs="+", default=[], metavar="FILE", help="answers: whose ids, how long")
    add("--questions", type=Path, metavar="FILE", help="questions: their categories")
    add("--trust-names", action="store_true", help="where ids leave it open, A-vs-B shows A first")
    add(
        "--different-questions",
        choices=DIFFERENT,
        default="refuse",
        help="questions that not every pair has (default: refuse)",
    )
    add("--reference", metavar="NAME", help="of percentages (default: who is in every pair)")
    add("--orders", type=int, default=10_000, metavar="N", help="random orders (default: 10000)")
    add(
        "--matches",
        type=int,
        metavar="N",
        help="per order (default: all; QLoRA's ratings need about 500, inferred)",
    )
    add("--k", type=float, default=32.0, help="how far one match moves a rating (default: 32)")
    add("--start", type=float, default=1000.0, help="rating before any match (default: 1000)")
    add("--seed", type=int, default=42, help="of orders and samples (default: 42)")
    add("--ties", choices=TIES, default="half", help="half a win each (default), or not counted")
    add("--unparsed", choices=UNPARSED, default="tie", help="as a tie (default), or not counted")
    add("--samples", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    add("--one-pass", action="store_true", help="also Elo in the order given, as Anima's")
    add("--initial", action="append", default=[], metavar="NAME=RATING|FILE", help="of the pass")
    add("--format", choices=["table", *FORMATS], default="table")
    add("--out", type=Path, metavar="FILE", help="write everything as JSON")
    add("--html", type=Path, metavar="FILE", help="write one self-contained page with plots")
    return parser


if __name__ == "__main__":
    sys.exit(main())
