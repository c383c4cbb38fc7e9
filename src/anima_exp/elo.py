"""Rate models from the verdicts of a judge: Elo, Bradley-Terry, and what the judge is biased by.

anima-exp elo ratings/vicuna                       # a folder of verdicts
anima-exp elo ratings/*.jsonl matches=500          # Elo as in QLoRA's Table 1
anima-exp elo rounds.jsonl sequential=true initial_rating=[A=1100,B=900]
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anima_exp.cli.flat_command import run_flat
from anima_exp.cli.flat_settings import parse
from anima_exp.errors import ConfigError
from anima_exp.tournament.options import EloConfig, EloFormat, Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, or with those of `sys.argv`."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_flat("elo", given, lambda words: rate(read(words)))


def read(arguments: Sequence[str]) -> EloConfig:
    """Return the settings of a command line.

    Raises:
        ConfigError: if there are no verdicts, or a setting contradicts another.
    """
    config = parse(arguments, EloConfig, words="verdicts", taking_several=("answers",))
    if not config.verdicts:
        raise ConfigError("No verdicts are given. Give their files, or a folder of *.jsonl.")
    if config.initial_rating and not config.sequential:
        raise ConfigError(
            "initial_rating is where the sequential pass begins. Add sequential=true."
        )
    return config


def rate(config: EloConfig) -> None:
    """Print the ratings, and write the other outputs that the settings name.

    Raises:
        AnimaError: if a path, a row or a setting is not what it should be.
    """
    from anima_exp.cli.program import console
    from anima_exp.system.terminal import note, write
    from anima_exp.tournament.export import WRITERS
    from anima_exp.tournament.players import read_answers
    from anima_exp.tournament.progress import Progress
    from anima_exp.tournament.rate import tournament
    from anima_exp.tournament.reading import read as read_rows
    from anima_exp.tournament.verdicts import verdicts

    options, progress = _options(config), Progress()
    found, notes = verdicts(
        read_rows([Path(path) for path in config.verdicts], say=progress.stage("verdicts read")),
        answers=read_answers([Path(path) for path in config.answers]),
        questions=Path(config.questions) if config.questions else None,
        on_missing=config.on_missing_questions,
        trust_names=config.trust_names,
    )
    result = tournament(found, options, notes=notes, progress=progress.stage)
    if config.out:
        from anima_exp.system.atomic import atomic_write_text, user_output

        with user_output(Path(config.out), way_out="Give another out=FILE."):
            atomic_write_text(Path(config.out), WRITERS["json"](result))
        note(f"Result: {config.out}")
    if config.html:
        from anima_exp.tournament.page import write_page

        write_page(Path(config.html), result)
        note(f"Page: {config.html}")
    if config.format is EloFormat.table:
        from anima_exp.tournament.report import show

        show(result, console())
    else:
        write(WRITERS[config.format.value](result))


def _options(config: EloConfig) -> Options:
    return Options(
        orders=config.permutations,
        matches=config.matches,
        k=config.k,
        start=config.start,
        seed=config.seed,
        ties=config.ties.value,
        unparsed=config.unparsed.value,
        reference=config.reference,
        samples=config.bootstrap_samples,
        one_pass=config.sequential,
        initial=_ratings(config.initial_rating),
    )


def _ratings(given: Sequence[str]) -> dict[str, float]:
    """Read ratings from `NAME=RATING`, or from a JSON file of {"NAME": RATING}."""
    from anima_exp.system import json_files

    result: dict[str, float] = {}
    for one in given:
        name, equals, text = one.rpartition("=")
        try:
            if equals:
                result[name] = _finite(text)
            else:
                read = json_files.read_file(Path(one))
                result |= {str(name): _finite(value) for name, value in read.items()}
        except (OSError, ValueError, OverflowError, TypeError, AttributeError):
            raise ConfigError(
                f"initial_rating={one} is no rating. "
                'Give NAME=RATING, or a JSON file of {"NAME": RATING}.'
            ) from None
    return result


def _finite(value: Any) -> float:
    """Return a number; ValueError or TypeError if it is none."""
    if not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


if __name__ == "__main__":
    sys.exit(main())
