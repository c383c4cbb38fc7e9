"""Print the report on a data set in the terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anima_exp.data.report.content import DataReport, Part, ShownRow
from anima_exp.data.report.lengths import QUANTILES, STEP, quantiles, truncation
from anima_exp.system.terminal import printable

_MAX_CHARACTERS = 3000  # of a row that is shown; the middles of its longest parts are left out
_FEWEST_CHARACTERS = 60  # of one part that is longer
_MAX_PARTS = 40  # of a row; those in the middle are left out
_STYLES = {
    "system": "dim magenta",
    "user": "dim cyan",
    "tool": "dim yellow",
    "history": "dim blue",
    "prompt": "dim cyan",
    "ending": "dim",
    "answer": "bold green",
}
_MARKS = "⟦⟧"  # around what is trained on, where there are no colours


def show(report: DataReport, console: Console) -> None:
    """Print the report."""
    console.print(Text.assemble((printable(report.name), "bold"), printable(f": {report.size}")))
    console.print(_facts(report))
    console.print(_tokens(report))
    console.print(_quantiles(report))
    if report.limits:
        console.print(_truncations(report))
    console.print(_problems(report))
    for heading, line in report.remarks.items():
        console.print(Text(printable(f"{heading}: {line}")))
    for line in report.skipped:
        console.print(Text(printable(line), style="dim"))
    if report.split_error:
        console.print(Text(printable(report.split_error)))
    if report.limits:
        console.print(_recommendation(report))
    if not report.rows:
        return
    marks = _MARKS if console.color_system is None else ""
    console.print()
    console.print(_legend(report, marks))
    for row in report.rows:
        console.print()
        console.print(_row(row, marks), soft_wrap=True)


def _table(title: str, *names: str) -> Table:
    table = Table(title, box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _facts(report: DataReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, line in report.facts.items():
        table.add_row(Text(printable(heading)), Text(printable(line)))
    return table


def _tokens(report: DataReport) -> Table:
    table = _table("Tokens", "tokens", "of all")
    total = max(sum(one.tokens for one in report.tokens), 1)
    for one in report.tokens:
        table.add_row(one.label, f"{one.tokens:,}", f"{one.tokens / total:.1%}")
    return table


def _quantiles(report: DataReport) -> Table:
    table = _table("Length in tokens", *report.lengths)
    names = [f"{share:.0%} are at most" for share in QUANTILES] + ["longest"]
    values = [quantiles(lengths) for lengths in report.lengths.values()]
    for name, *each in zip(names, *values, strict=True):
        table.add_row(name, *(f"{value:,.0f}" for value in each))
    return table


def _truncations(report: DataReport) -> Table:
    table = Table(report.limits_title, box=SIMPLE_HEAD, pad_edge=False)
    rows, tokens = report.limit_columns
    for name in ("limit", rows, "of all", tokens, "of all"):
        table.add_column(name, justify="right")
    for one in report.limits:
        for which, value in (("", one.value), (" (recommended)", one.recommended)):
            cut = truncation(one.lengths, value)
            table.add_row(
                f"{one.key}{which}",
                f"{value:,}",
                f"{cut.rows:,}",
                f"{cut.rows_proportion:.2%}",
                f"{cut.tokens:,}",
                f"{cut.tokens_proportion:.2%}",
            )
    return table


def _problems(report: DataReport) -> Table:
    table = _table("Problems", "rows")
    for problem, count in report.problems.items():
        table.add_row(Text(printable(problem)), f"{count:,}")
    return table


def _recommendation(report: DataReport) -> Text:
    kind = "multiples" if len(report.limits) > 1 else "multiple"
    verb = "keep" if len(report.limits) > 1 else "keeps"
    rule = f"Recommended: the smallest {kind} of {STEP} that {verb} {report.kept} complete:"
    return Text.assemble("\n", rule, "\n  ", (report.recommendation, "bold"))


def _legend(report: DataReport, marks: str) -> Text:
    """Return what each colour stands for, of those that the rows have."""
    parts = {part.label: part for row in report.rows for part in row.parts}
    legend = Text("Rows as the model reads them: ")
    for number, part in enumerate(parts.values()):
        if number:
            legend.append(", ")
        legend.append(*_marked(part, part.label, marks))
    return legend


def _row(row: ShownRow, marks: str) -> Text:
    why = f" ({row.reason})" if row.reason else ""
    text = Text.assemble(
        (printable(row.location), "cyan"), printable(f"{why}: {row.description}.\n")
    )
    for part, shown in _shortened(row):
        if part is None:
            text.append(shown)
        else:
            text.append(*_marked(part, shown, marks))
    return text


def _marked(part: Part, text: str, marks: str) -> tuple[str, str]:
    style = _STYLES["answer" if part.trained else part.style]
    text = printable(text)
    return (f"{marks[0]}{text}{marks[1]}" if marks and part.trained else text), style


def _shortened(row: ShownRow) -> Iterator[tuple[Part | None, str]]:
    """Yield each part with its text, in which the middle of a long text is left out."""
    parts = row.parts
    left_out = range(0)
    if len(parts) > _MAX_PARTS:
        left_out = range(_MAX_PARTS * 3 // 4, len(parts) - _MAX_PARTS // 4)
    room = max(_MAX_CHARACTERS // (len(parts) - len(left_out)), _FEWEST_CHARACTERS)
    for number, part in enumerate(parts):
        if number not in left_out:
            yield part, _middle_left_out(part.text, room)
        elif number == left_out.start:
            tokens = sum(parts[other].tokens for other in left_out)
            yield None, f"\n[... {len(left_out)} parts, {tokens:,} tokens ...]\n"


def _middle_left_out(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    half = room // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
