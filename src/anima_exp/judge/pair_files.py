"""Stored verdicts -> OUT/A-vs-B-JUDGE-KIND.jsonl, one file for each pair and order, each whole.

A file holds one verdict a match, under the present texts and settings; what was asked under others
is in the store alone.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anima_exp.judge.calls import Call
from anima_exp.judge.plan import Plan
from anima_exp.judge.store import not_written
from anima_exp.judge.verdict import row
from anima_exp.results.files import write_text

_LONGEST_NAME_BYTES = 80  # of 255 that a file system allows for two names, the judge and the kind


def publish(plan: Plan, stored: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write the files of every order that has a verdict, and return them.

    Raises:
        RunError: the folder cannot be written.
    """
    by_file: dict[Path, list[Call]] = defaultdict(list)
    for call in plan.calls:
        if call.key in stored:
            by_file[folder / file_name(call)].append(call)
    for path, calls in by_file.items():
        rows = (row(call, stored[call.key]) for call in calls)
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        try:
            write_text(path, text)
        except OSError as error:
            raise not_written(folder, error) from error
    return list(by_file)


def file_name(call: Call) -> str:
    first, second = call.match.first.model, call.match.second.model
    return f"{_plain(first)}-vs-{_plain(second)}-{_plain(call.judge)}-{call.kind.value}.jsonl"


def _plain(name: str) -> str:
    """A model's name as a part of a file's; one that had to change keeps a mark of what it was."""
    plain = re.sub(r"[^\w.+=-]+", "-", name).strip("-.")
    short = plain.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore")
    if short == name:
        return name
    return f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
