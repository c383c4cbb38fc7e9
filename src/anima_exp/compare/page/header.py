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
    answer, rest = _parts(comparison.verdict if comparison.rows else "Nothing is done yet.")
    parts = [f"<h1>{escaped(title(comparison))}</h1>", f'<p class="verdict">{escaped(answer)}</p>']
    if rest:
        parts.append(f'<p class="more">{escaped(rest)}</p>')
    if comparison.caution:
        parts.append(f'<p class="note">{escaped(comparison.caution)}</p>')
    several = len(comparison.runs.sweeps) > 1
    for sweep in comparison.runs.sweeps:
        question = f"<p>{escaped(sweep.question or sweep.name)}</p>" if several else ""
        parts.append(
            f'<div class="sweep">{question}'
            f'<pre class="command" tabindex="0" aria-label="Command">{escaped(sweep.command)}</pre>'
            "</div>"
        )
    parts.append(_counts(comparison))
    parts.append(f'<p class="soft dates">{escaped(_dates(comparison, now))}</p>')
    return "\n".join(parts)


def _parts(verdict: str) -> tuple[str, str]:
    """The answer; and how it was found, which stands smaller below it."""
    found = re.match(r"(.+?[.!?])\s+(?=[A-Z])(.+)", verdict, flags=re.DOTALL)
    first, rest = (found[1], found[2]) if found else (verdict, "")
    how = _HOW.findall(first)
    said = [f"{part[:1].upper()}{part[1:]}." for part in how]
    return _HOW.sub("", first), " ".join([*said, *([rest] if rest else [])])


_HOW = re.compile(r" \(([^()]* seeds[^()]*)\)")  # "(-0.0131 ± 0.0020, paired over 3 seeds)"


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
