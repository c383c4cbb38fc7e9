"""The head of the page: the conclusion, what it rests on, what a reader should know."""

import re
from datetime import UTC, datetime

from anima_exp.elo.tournament import Tournament
from anima_exp.page.words import escaped

TITLE = "A tournament of {count} models"


def header(found: Tournament, now: datetime) -> str:
    # "(99.3 % interval +269 to +427, ...)" stands smaller below.
    how = re.search(r" \(([^()]* interval [^()]*)\)\.$", found.conclusion)
    answer = found.conclusion.replace(how[0], ".") if how else found.conclusion
    parts = [
        f"<h1>{escaped(TITLE.format(count=len(found.players)))}</h1>",
        f'<p class="verdict">{escaped(answer)}</p>',
    ]
    if how:
        parts.append(f'<p class="more">By Bradley-Terry, {escaped(how[1])}.</p>')
    counts = {
        "players": len(found.players),
        "questions": found.questions,
        "verdicts": found.verdicts,
        "not parsed": found.unparsed,
    }
    items = [f"<div><dt>{name}</dt><dd>{number:,}</dd></div>" for name, number in counts.items()]
    parts.append(f'<dl class="counts">{"".join(items)}</dl>')
    parts += [f'<p class="soft dates">{escaped(note)}</p>' for note in found.notes]
    made = f"Page made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    parts.append(f'<p class="soft dates">{made}</p>')
    return "\n".join(parts)
