"""Look at this machine, and show the findings as text or JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from anima_exp.diagnostics import software, surroundings
from anima_exp.diagnostics.findings import Finding, Level, is_broken
from anima_exp.diagnostics.options import DoctorConfig
from anima_exp.system.terminal import printable

_MARKS = {
    Level.ok: ("ok", "green"),
    Level.info: ("-", "dim"),
    Level.warning: ("!", "yellow"),
    Level.broken: ("x", "bold red"),
}


def examine(config: DoctorConfig) -> list[Finding]:
    """Return all findings about this machine: it takes as long as importing torch, or 3 s."""
    result = [*software.packages(), *software.libraries(software.probe())]
    result += surroundings.memory()
    result += surroundings.storage(config.runs_dir, config.cache_dir)
    result += surroundings.accounts()
    result += surroundings.network(ask=config.network)
    result += surroundings.cluster()
    order = list(dict.fromkeys(one.section for one in result))
    return sorted(result, key=lambda one: order.index(one.section))


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings by section, and at the end what to do."""
    longest = max(len(one.name) for one in findings)
    section = ""
    for one in findings:
        if one.section != section:
            section = one.section
            console.print(Text(section.capitalize(), style="bold"))
        mark, style = _MARKS[one.level]
        _line(console, f"  {mark:<3}{one.name:<{longest}}  ", one.value, style)
        if one.advice:
            _line(console, " " * (longest + 7), one.advice, "dim")
    console.print()
    console.print(Text(conclusion(findings)), soft_wrap=not console.is_terminal)


def conclusion(findings: Sequence[Finding]) -> str:
    """Return whether a default run works here, and how many things could be better."""
    broken = [one.name for one in findings if one.level is Level.broken]
    warnings = [one.name for one in findings if one.level is Level.warning]
    if is_broken(findings):
        return f"A run cannot work on this machine yet. Repair: {', '.join(broken)}."
    text = "Runs work on this machine. Try the tiny world: anima-exp train"
    return f"{text}\nCould be better: {', '.join(warnings)}." if warnings else text


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON object with `works` and a list."""
    values = {"works": not is_broken(findings), "findings": [asdict(one) for one in findings]}
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _line(console: Console, start: str, text: str, style: str) -> None:
    """Print a heading and a text that wraps behind it."""
    room = max(console.width - len(start), 30)
    lines = Text(printable(text)).wrap(console, room)
    for number, line in enumerate(lines):
        heading = (start, style) if number == 0 else (" " * len(start), "")
        body = line if style != "dim" else Text(line.plain, style="dim")
        console.print(Text.assemble(heading, body), soft_wrap=True)
