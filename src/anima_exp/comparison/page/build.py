"""Build the HTML page of a comparison."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from anima_exp.comparison.build import Comparison
from anima_exp.comparison.page import figures, tables
from anima_exp.comparison.page import leaderboard as costs
from anima_exp.comparison.page.data import Plotted, plotted
from anima_exp.comparison.page.leaderboard import ROWS, leaderboard
from anima_exp.comparison.reference_results import ReferenceComparison
from anima_exp.comparison.runs import Run, State
from anima_exp.comparison.settings import format_value, hashable
from anima_exp.display import html_page
from anima_exp.display.html_page import Column, Count, Line, Section, Table, Value, count

# The head of the page: question, answer, command and number of runs.


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


def header(comparison: Comparison, now: datetime) -> dict[str, object]:
    first, *more, command = _said(comparison)
    return {
        "answer": first,
        "more": more,
        "repeat": command,
        "caution": comparison.caution,
        "sweeps": comparison.runs.sweeps,
        "counts": list(_counts(comparison)),
        "dates": _dates(comparison, now),
    }


def _said(comparison: Comparison) -> list[str]:
    """Return the headline, the sentences below it, and last the command that repeats, or ""."""
    if not comparison.rows:
        return ["No run is done yet.", ""]
    text = " ".join(comparison.conclusion)
    said, _, command = text.partition(" Repeat: ")
    first = comparison.conclusion[0].partition(" Repeat: ")[0]
    return [*filter(None, [*_parts(first), said.removeprefix(first).strip()]), command]


def _parts(verdict: str) -> tuple[str, str]:
    """Return the answer, and how it was computed, which the page shows in smaller type."""
    found = re.match(r"(.+?[.!?])\s+(?=[A-Z])(.+)", verdict, flags=re.DOTALL)
    first, rest = (found[1], found[2]) if found else (verdict, "")
    how = _HOW.findall(first)
    said = [f"{part[:1].upper()}{part[1:]}." for part in how]
    return _HOW.sub("", first), " ".join([*said, *([rest] if rest else [])])


_HOW = re.compile(r" \(([^()]* ±[^()]*)\)")  # "(-0.0131 ± 0.0020, paired over 3 seeds)"


def _counts(comparison: Comparison) -> Iterator[Count]:
    cells = len(comparison.cells)
    yield Count("cell" if cells == 1 else "cells", cells)
    for state, label in _WORDS.items():
        number = comparison.counts.get(state, 0)
        if number or state is State.done:
            yield Count(label, number, bad=state is State.failed)


def _dates(comparison: Comparison, now: datetime) -> str:
    finished = sorted(run.record.finished[:10] for run in comparison.runs.runs if run.record)
    made = f"Page made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    if not finished:
        return made
    first, last = finished[0], finished[-1]
    when = last if first == last else f"{first} to {last}"
    return f"Runs finished {when}. {made}"


# The foot of the page: the settings that all runs share, their code and library versions.


def section(comparison: Comparison) -> Section:
    """Return the section of the done runs; there is at least one."""
    runs = comparison.runs.done()
    fixed = Table(
        "Settings that all runs share",
        [Column("Setting"), Column("Value", "value")],
        [Line([Value(key), Value(value)]) for key, value in _shared(runs)],
    )
    content = {"code": list(_code(runs)), "table": fixed}
    return Section("setup", "Setup", "Setup", "setup.html.jinja", content)


def _shared(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the settings that have the same value in every run, in the order of the config."""
    for key, value in runs[0].settings.items():
        values = {hashable(run.settings.get(key, _ABSENT)) for run in runs}
        if len(values) == 1:
            yield key, format_value(value)


_ABSENT = "\0absent"


def _code(runs: Sequence[Run]) -> Iterator[str]:
    records = [run.record for run in runs if run.record]
    commits: dict[str, int] = {}
    for record in records:
        commit = str(record.git.get("commit") or "unknown")[:12]
        dirty = " with uncommitted changes" if record.git.get("dirty") else ""
        commits[commit + dirty] = commits.get(commit + dirty, 0) + 1
    if len(commits) == 1:
        yield f"Commit of anima_exp: {next(iter(commits))}."
    else:
        which = ", ".join(f"{commit} ({count(n, 'run')})" for commit, n in commits.items())
        yield f"Commits of anima_exp: {which}."
    packages = dict.fromkeys(name for record in records for name in record.versions)
    versions = {
        name: sorted({record.versions.get(name, "none") for record in records}) for name in packages
    }
    if versions:
        text = ", ".join(f"{name} {' and '.join(each)}" for name, each in versions.items())
        yield f"Versions: {text}."
    gpus = sorted({record.hardware.get("gpu", "CPU") for record in records if record.hardware})
    if gpus:
        yield f"Computed on: {', '.join(gpus)}."


# The sections of the page, in order. A section without content is left out.


def sections(comparison: Comparison, plotted: Plotted) -> Iterator[Section]:
    """Yield the sections of the page. `plotted` is data.plotted(comparison)."""
    metric = comparison.metric
    if comparison.rows:
        yield Section(
            "leaderboard",
            "Leaderboard",
            "Leaderboard",
            "leaderboard.html.jinja",
            {"table": leaderboard(comparison)},
            lead=_leaderboard_lead(comparison),
        )
    if found := comparison.baseline:
        yield Section(
            "baseline",
            "Baseline",
            f"Against {found.label}",
            "table.html.jinja",
            {"table": tables.baseline(found, metric)},
            lead=f"Mean differences from the baseline. {found.description}",
        )
    for number, reference in enumerate(comparison.published):
        yield Section(
            f"published-{number}" if number else "published",
            "Published",
            f"Next to {reference.table.source}",
            "table.html.jinja",
            {"table": tables.published(reference, metric)},
            lead=_published_lead(reference),
            warning="" if reference.table.confirmed else "unconfirmed",
        )
    yield from figures.sections(comparison, plotted)
    if incomplete_runs := tables.incomplete_runs(comparison):
        yield Section(
            "failures",
            "Failures",
            _states(incomplete_runs),
            "table.html.jinja",
            {"table": tables.failures(comparison)},
            lead=_failures_lead(incomplete_runs),
        )
    if comparison.runs.done():
        yield section(comparison)


def _leaderboard_lead(comparison: Comparison) -> str:
    rows, metric = comparison.shown, comparison.metric
    better = "smaller" if metric.minimize else "larger"
    text = [
        "Only settings that differ are shown. The best cell is highlighted.",
        f"Ranked by {metric.name}; {better} is better.",
    ]
    if alike := costs.alike(rows):
        text.append(f"Each cell used {alike}.")
    if any(row.score.n > 1 for row in rows):
        text.append("A line is the 95 % confidence interval of the mean over the seeds.")
    if any(row.score.n == 1 for row in rows):
        text.append("A hollow dot is a single run: without repeats its uncertainty is unknown.")
    if comparison.repeated:
        text.append(comparison.repeated)
    if comparison.left_out:
        text.append(comparison.left_out)
    if len(rows) > ROWS:
        text.append(f"The first {ROWS:,} of {len(rows):,} rows.")
    if comparison.unscored:
        text.append(f"{count(len(comparison.unscored), 'done run')} without this score.")
    return " ".join(text)


def _published_lead(reference: ReferenceComparison) -> str:
    text = []
    if not reference.table.confirmed:
        text.append("These figures have not been checked against the paper.")
    if reference.table.note:
        text.append(reference.table.note)
    if reference.matched:
        text.append(f"Our runs have the same {', '.join(reference.matched)}.")
    keys = dict.fromkeys(key for row, _, _ in reference.rows for key in row)
    if replaced := [key for key in keys if key not in reference.matched]:
        text.append(f"They differ from the paper's in {', '.join(replaced)}.")
    return " ".join(text)


def _states(runs: list[Run]) -> str:
    words = {State.failed: "failed", State.stopped: "stopped early", State.unfinished: "unfinished"}
    used = [word for state, word in words.items() if any(run.state is state for run in runs)]
    text = " and ".join([", ".join(used[:-1]), used[-1]] if len(used) > 1 else used)
    return text[0].upper() + text[1:]


def _failures_lead(runs: list[Run]) -> str:
    text = ["Run the same command again to resume unfinished runs and retry failed ones."]
    if len(runs) > tables.FAILURES:
        text.append(f"The first {tables.FAILURES} of {len(runs):,} are shown.")
    return " ".join(text)


_SCRIPTS = ("metric", "levels", "table", "curves", "highlight", "effects", "heatmap", "parallel",
            "generations", "parts")  # fmt: skip


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: if `path` cannot be written.
    """
    html_page.write(path, page(comparison, now=datetime.now(UTC)))


def page(comparison: Comparison, *, now: datetime) -> str:
    data = plotted(comparison)
    return html_page.page(
        Path(__file__).parent / "templates" / "comparison.html.jinja",
        title=title(comparison),
        header=header(comparison, now),
        sections=list(sections(comparison, data)),
        data=data,
        scripts=[Path(__file__).parent / "scripts" / f"{name}.js" for name in _SCRIPTS],
        program="anima-exp compare",
    )
