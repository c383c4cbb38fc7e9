"""A run's record -> its model card: all that a stranger needs to judge and to load the result."""

import re
from collections.abc import Sequence

from anima_exp.card import facts, loading, prompt
from anima_exp.card.front_matter import (
    UNDECIDED,
    front_matter,
    licence,
    trains_every_weight,
)
from anima_exp.card.scores import Measured, columns
from anima_exp.results.record import Record
from anima_exp.tables import markdown
from anima_exp.tables.column import Column
from anima_exp.terminal import visible

FILE = "README.md"


def card(
    record: Record,
    *,
    before: Measured,
    after: Measured,
    modules: Sequence[str],
    begin: str,
    end: str,
) -> str:
    """Markdown, the same for the same record.

    Args:
        before, after: the evaluations at step 0 and at the last one.
        modules: names of the layers that have an adapter.
        begin, end: the texts of BOS (may be empty) and EOS.
    """
    asked = prompt.example(record.settings, begin=begin)
    what = "fine-tuned model" if trains_every_weight(record) else "LoRA adapter"
    parts = [
        f"# {_plain(record.name)}\n",
        f"A {what}, trained and measured by anima-exp.\n",
        _section("Base", facts.base(record)),
        _section("Data", facts.data(record)),
        f"## Scores\n\n{_scores(record, before, after)}",
        f"## How to ask it\n\n{_how_to_ask(record, asked, end)}",
        f"## How to load it\n\n{_fenced(loading.code(record, asked), 'python')}",
        _section("Training", facts.training(record, modules)),
        _section("Cost", facts.cost(record)),
        f"## Licence\n\n{_licence(record)}",
    ]
    return front_matter(record) + "\n" + "\n".join(parts)


def _section(title: str, told: facts.Facts) -> str:
    names, texts = zip(*told, strict=True)
    pair = [Column("", list(names), right=False), Column("", _visible(texts), right=False)]
    return f"## {title}\n\n{markdown.table(pair)}"


def _scores(record: Record, before: Measured, after: Measured) -> str:
    if not after.scores:
        return "None: the run measured nothing.\n"
    return (
        markdown.table(columns(record, before=before, after=after))
        + "\nIn brackets: 95 % intervals from the number of questions. They say nothing of how "
        "much another seed would change. The loss is a mean over tokens and has none.\n"
    )


def _how_to_ask(record: Record, asked: str, end: str) -> str:
    template = _code(prompt.template(record.settings))
    told = f"In the format {template}, to the letter; an answer was taught to end in {_code(end)}."
    if prompt.written_by_others(record.settings):
        told = (
            f"The training rows were written by {_code(record.settings['data.recipe'])}, which is "
            f"not part of this. Beside it, the format {template} was set for questions."
        )
    return f"{told}\n\n{_fenced(asked, 'text')}"


def _licence(record: Record) -> str:
    if licence(record) != UNDECIDED:
        return "Apache-2.0, as base and data, which are parts of anima-exp.\n"
    base, data = (dict(told)["licence"] for told in (facts.base(record), facts.data(record)))
    return (
        "Not chosen yet: the head of this file says `other` until whoever publishes it chooses. "
        f"It may allow no more than base ({_plain(base)}) and data ({_plain(data)}) do.\n"
    )


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}\n"


def _code(text: str) -> str:
    """On one line, in as many backticks as it takes that none of its own ends it."""
    line = visible(" ".join(text.split()))
    fence = "`" * (_longest_run(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _plain(text: str) -> str:
    return markdown.written_plainly(visible(text))


def _visible(texts: Sequence[str]) -> list[str]:
    return [visible(text) for text in texts]
