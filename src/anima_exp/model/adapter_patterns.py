"""Check the regular expressions in an adapter's config in a process that can be ended.

PEFT matches `target_modules` and the keys of `rank_pattern` and `alpha_pattern` against the name
of every module. A pattern such as `(a+)+$` needs exponential time on a name of 60 letters, and
Python's matching cannot be interrupted.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from anima_exp.config.lora_checks import full_expression
from anima_exp.errors import ModelError

_SECONDS = 10.0  # real patterns take milliseconds
_TRY = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for number, pattern in enumerate(patterns):
    print(number, flush=True)
    try:
        known = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        print(f"bad {error}", flush=True)
        sys.exit()
    for name in names:
        known.fullmatch(name)
print("done", flush=True)
"""


def check_patterns(settings: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """Raise ModelError if a pattern of an adapter's config is invalid, or takes too long.

    Args:
        settings: the content of adapter_config.json.
        names: what the patterns are matched against.
    """
    patterns = _patterns(settings)
    if not patterns:
        return
    given = json.dumps([[whole for _, whole in patterns], list(names)])
    command = [sys.executable, "-I", "-c", _TRY]
    try:
        said = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=_SECONDS
        ).stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        said = output.decode() if isinstance(output, bytes) else output
    *_, last = ["0", *said.split("\n")[:-1]]
    if last == "done":
        return
    bad = last.startswith("bad ")
    number = int(said.split("\n")[-3] if bad else last)
    reason = f"is invalid: {last[4:]}" if bad else f"takes more than {_SECONDS:g} s to match"
    raise ModelError(
        f"{where}: the pattern {patterns[number][0]!r} in its adapter_config.json {reason}. "
        "Replace it with a list of module names."
    )


def _patterns(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each pattern that is more than a name, with the full expression that PEFT builds."""
    found = []
    for key in ("target_modules", "exclude_modules"):
        value = settings.get(key)
        if isinstance(value, str) and value != "all-linear":
            found.append((value, value))
    for key in ("rank_pattern", "alpha_pattern"):
        given = settings.get(key)
        for value in given if isinstance(given, Mapping) else ():
            found.append((str(value), full_expression(value)))
    layers = settings.get("layers_pattern")
    for value in layers if isinstance(layers, list) else [layers] if layers else []:
        found.append((str(value), rf".*\.{value}\.(\d+)\..*"))
    return [one for one in found if re.escape(one[0]).replace("\\.", ".") != one[0]]
