"""The name of a file of verdicts -> the names of its two players."""

import re
from functools import cache
from pathlib import Path

from anima_exp.errors import DataError

# QLoRA's and FastChat's files end in the reviewer, and the fine-tunes in how they were sampled.
_REVIEWER = re.compile(r"[-_]gpt-?4[-_]reviewer.*$")
_SAMPLED = re.compile(r"[-_](vicuna|oa|openassistant)[-_]generations.*$")
_ANSWER = re.compile(r"^answers?[-_]")


def players(path: Path) -> tuple[str, str]:
    """`A-vs-B-gpt-4-reviewer-threeclass.jsonl` -> A and B, short.

    Raises:
        DataError: the name does not say who plays.
    """
    stem = _REVIEWER.sub("", path.name.removesuffix(".jsonl"))
    parts = re.split(r"[-_]vs[-_]", stem)
    if len(parts) != 2 or not all(parts) or same(*parts):
        raise DataError(
            f"{path} does not say who plays: its rows have no model1 and model2, and its name is "
            "not A-vs-B.jsonl. Rename it."
        )
    return short(parts[0]), short(parts[1])


def short(name: str) -> str:
    """`13b-guanaco-vicuna-generations-topp0.9-temp0.7` -> `13b-guanaco`."""
    return _ANSWER.sub("", _SAMPLED.sub("", name)) or name


def same(one: str, other: str) -> bool:
    """Whether two spellings mean one player: `gpt-3.5` and `answer_gpt35` do."""
    return key(one) == key(other)


@cache
def key(name: str) -> str:
    folded = short(name).casefold()
    return "".join(letter for letter in folded if letter.isalnum()) or folded
