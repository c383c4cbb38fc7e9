"""The report: a verdict in words, then tables for the documentation."""

from typing import Any

from check.parts import PARTS
from check.rows import PART, Row, latest
from check.verdict import Judged, State, derived, judge

FILE = "report.md"
_HIDDEN = ("part", "row", "losses", "compared_with", "may_fail", "said", "starts")


def written(rows: list[Row], *, rehearsal: bool = False) -> tuple[str, bool]:
    """Return the report in Markdown, and whether something is wrong."""
    judged = judge(rows, rehearsal=rehearsal)
    wrong = any(one.state is State.wrong for one in judged)
    rows = derived(latest(rows))
    sections = ["# GPU check", _verdict(judged, rehearsal=rehearsal), _times(rows)]
    for part in PARTS:
        of_part = [row for row in rows if row["part"] == part.name and row["row"] != PART]
        if of_part:
            sections.append(f"## {part.name}: {part.answers}")
        for kind in dict.fromkeys(row["row"] for row in of_part):
            sections.append(_table(kind, [row for row in of_part if row["row"] == kind]))
    return "\n\n".join(sections) + "\n", wrong


def _verdict(judged: list[Judged], *, rehearsal: bool) -> str:
    count = {state: [one for one in judged if one.state is state] for state in State}
    if count[State.wrong]:
        many = len(count[State.wrong])
        line = f"**{many} {'thing is' if many == 1 else 'things are'} wrong.**"
    elif rehearsal:
        line = "**The rehearsal ran to its end. Of the numbers only memory is real, and judged.**"
    elif count[State.right]:
        line = "**Nothing that was measured is wrong.**"
    else:
        line = "**Nothing was measured.**"
    lines = [line]
    for state in (State.wrong, State.slow, State.missing, State.right, State.hollow):
        if count[state]:
            lines.append(f"{state.value[0].upper()}{state.value[1:]} ({len(count[state])}):\n")
            lines[-1] += "\n".join(f"\n- {one.text}" for one in count[state]).replace("\n\n", "\n")
    return "\n\n".join(lines)


def _times(rows: list[Row]) -> str:
    ends = {row["part"]: row for row in rows if row["row"] == PART}
    lines = ["| part | state | seconds | expected |", "| --- | --- | ---: | ---: |"]
    for part in PARTS:
        end = ends.get(part.name, {"state": "not run"})
        taken = end.get("seconds", "")
        lines.append(f"| {part.name} | {end['state']} | {taken} | {part.expected_seconds} |")
    return "\n".join(lines)


def _table(kind: str, rows: list[Row]) -> str:
    notes = [row for row in rows if "note" in row]
    failed = [row for row in rows if "error" in row]
    measured = [row for row in rows if "note" not in row and "error" not in row]
    lines = [f"### {kind}"]
    lines += [str(row["note"]) for row in notes]
    if failed:
        lines.append(f"{len(failed)} of {len(rows)} failed: see the verdict.")
    keys = list(dict.fromkeys(key for row in measured for key in row if key not in _HIDDEN))
    if len(measured) == 1:
        head, pairs = "| | |\n| --- | --- |", [(key, measured[0][key]) for key in keys]
        body = [f"| {key.replace('_', ' ')} | {cell(value)} |" for key, value in pairs]
        lines.append("\n".join([head, *body]))
    elif measured:
        head = "| " + " | ".join(key.replace("_", " ") for key in keys) + " |"
        line = "| " + " | ".join("---" if _words(measured, key) else "---:" for key in keys) + " |"
        body = ["| " + " | ".join(cell(row.get(key)) for key in keys) + " |" for row in measured]
        lines.append("\n".join([head, line, *body]))
    return "\n\n".join(lines)


def _words(rows: list[Row], key: str) -> bool:
    return any(isinstance(row.get(key), str) for row in rows)


def cell(value: Any) -> str:
    """Return a value as a cell of a Markdown table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return " ".join(str(value).removeprefix("torch.").replace("|", r"\|").split())
