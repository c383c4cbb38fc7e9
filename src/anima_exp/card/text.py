"""A run's record -> its model card: all that a stranger needs to judge and to load the result."""

from collections.abc import Sequence

from anima_exp.card import facts, loading, merged, prompt
from anima_exp.card.front_matter import UNDECIDED, front_matter, licence, trains_every_weight
from anima_exp.card.markup import code, fenced, plain, section
from anima_exp.card.merged import Merged
from anima_exp.card.scores import Measured, columns
from anima_exp.results.record import Record
from anima_exp.tables import markdown

FILE = "README.md"


def card(
    record: Record,
    *,
    before: Measured,
    after: Measured,
    modules: Sequence[str],
    begin: str,
    end: str,
    merge: Merged | None = None,
) -> str:
    """Markdown, the same for the same record.

    Args:
        before, after: the evaluations at step 0 and at the last one.
        modules: names of the layers that have an adapter.
        begin, end: the texts of BOS (may be empty) and EOS.
        merge: how the run's adapter was folded into its base; None: it was not.
    """
    asked = prompt.example(record.settings, begin=begin)
    lines = merge.loading(asked) if merge else loading.code(record, asked)
    parts = [
        *(merged.opening(record.name, merge) if merge else _opening(record)),
        section("Base", facts.base(record)),
        section("Data", facts.data(record)),
        f"## Scores{' before the merge' * bool(merge)}\n\n{_scores(record, before, after)}",
        f"## How to ask it\n\n{_how_to_ask(record, asked, end)}",
        f"## How to load it\n\n{fenced(lines, 'python')}",
        section("Training", facts.training(record, modules)),
        section("Cost", facts.cost(record)),
        f"## Licence\n\n{_licence(record)}",
    ]
    return front_matter(record, merged=merge is not None) + "\n" + "\n".join(parts)


def _opening(record: Record) -> list[str]:
    what = "fine-tuned model" if trains_every_weight(record) else "LoRA adapter"
    return [f"# {plain(record.name)}\n", f"A {what}, trained and measured by anima-exp.\n"]


def _scores(record: Record, before: Measured, after: Measured) -> str:
    if not after.scores:
        return "None: the run measured nothing.\n"
    return (
        markdown.table(columns(record, before=before, after=after))
        + "\nIn brackets: 95 % intervals from the number of questions. They say nothing of how "
        "much another seed would change. The loss is a mean over tokens and has none.\n"
    )


def _how_to_ask(record: Record, asked: str, end: str) -> str:
    template = code(prompt.template(record.settings))
    told = f"In the format {template}, to the letter; an answer was taught to end in {code(end)}."
    if prompt.written_by_others(record.settings):
        told = (
            f"The training rows were written by {code(record.settings['data.recipe'])}, which is "
            f"not part of this. Beside it, the format {template} was set for questions."
        )
    return f"{told}\n\n{fenced(asked, 'text')}"


def _licence(record: Record) -> str:
    if licence(record) != UNDECIDED:
        return "Apache-2.0, as base and data, which are parts of anima-exp.\n"
    base, data = (dict(told)["licence"] for told in (facts.base(record), facts.data(record)))
    return (
        "Not chosen yet: the head of this file says `other` until whoever publishes it chooses. "
        f"It may allow no more than base ({plain(base)}) and data ({plain(data)}) do.\n"
    )
