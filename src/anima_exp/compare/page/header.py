"""The head of the page: what was asked, what came out, by which command, how many runs."""

import re
from datetime import UTC, datetime

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.runs import State
from anima_exp.page.words import count, escaped

_WORDS = {
    State.done: "runs done",
    State.stopped: "stopped early",
    State.failed: "failed",
    State.unfinished: "unfinished",
}


def title(comparison: Comparison) -> str:
    questions = [sweep.question or sweep.name for sweep in comparison.runs.sweeps]
    if len(questions) == 1:
        return questions[0]
    return f"{count(len(comparison.runs.runs), 'run')} compared by {comparison.metric.name}"


def header(comparison: Comparison, now: datetime) -> str:
    first, *more, command = _said(comparison)
    parts = [f"<h1>{escaped(title(comparison))}</h1>", f'<p class="verdict">{escaped(first)}</p>']
    parts += [f'<p class="more">{escaped(sentence)}</p>' for sentence in more]
    if command:
        parts.append(f'<div class="sweep"><p>Repeat with more seeds:</p>{_command(command)}</div>')
    if comparison.caution:
        parts.append(f'<p class="note">{escaped(comparison.caution)}</p>')
    several = len(comparison.runs.sweeps) > 1
    for sweep in comparison.runs.sweeps:
        question = f"<p>{escaped(sweep.question or sweep.name)}</p>" if several else ""
        parts.append(f'<div class="sweep">{question}{_command(sweep.command)}</div>')
    parts.append(_counts(comparison))
    parts.append(f'<p class="soft dates">{escaped(_dates(comparison, now))}</p>')
    return "\n".join(parts)


def _said(comparison: Comparison) -> list[str]:
    """Return the headline, the sentences below it, and last the command that repeats, or ""."""
    if not comparison.rows:
        return ["Nothing is done yet.", ""]
    text = " ".join(comparison.conclusion)
    said, _, command = text.partition(" Repeat: ")
    first = comparison.conclusion[0].partition(" Repeat: ")[0]
    return [*filter(None, [*_parts(first), said.removeprefix(first).strip()]), command]


def _command(text: str) -> str:
    return (
        '<div class="copied"><pre class="command" tabindex="0" aria-label="Command">'
        f'{escaped(text)}</pre><button type="button" class="copy" hidden>Copy</button></div>'
    )


def _parts(verdict: str) -> tuple[str, str]:
    """The answer; and how it was found, which stands smaller below it."""
    found = re.match(r"(.+?[.!?])\s+(?=[A-Z])(.+)", verdict, flags=re.DOTALL)
    first, rest = (found[1], found[2]) if found else (verdict, "")
    how = _HOW.findall(first)
    said = [f"{part[:1].upper()}{part[1:]}." for part in how]
    return _HOW.sub("", first), " ".join([*said, *([rest] if rest else [])])


_HOW = re.compile(r" \(([^()]* ±[^()]*)\)")  # "(-0.0131 ± 0.0020, paired over 3 seeds)"


def _counts(comparison: Comparison) -> str:
    found = [(state, comparison.counts.get(state, 0)) for state in _WORDS]
    items = [
        f"<div{_bad(state)}><dt>{_WORDS[state]}</dt><dd>{number:,}</dd></div>"
        for state, number in found
        if number or state is State.done
    ]
    cells = len(comparison.cells)
    items.insert(0, f"<div><dt>cell{'' if cells == 1 else 's'}</dt><dd>{cells:,}</dd></div>")
    return f'<dl class="counts">{"".join(items)}</dl>'


def _bad(state: State) -> str:
    return ' class="bad"' if state is State.failed else ""


def _dates(comparison: Comparison, now: datetime) -> str:
    finished = sorted(run.record.finished[:10] for run in comparison.runs.runs if run.record)
    made = f"Page made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    if not finished:
        return made
    first, last = finished[0], finished[-1]
    when = last if first == last else f"{first} to {last}"
    return f"Runs finished {when}. {made}"
