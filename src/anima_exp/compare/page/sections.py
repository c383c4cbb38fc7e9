"""A comparison -> the sections of the page in their order; one with nothing to show is left out."""

from collections.abc import Iterator

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.page import costs, figures, setup, tables
from anima_exp.compare.page.data import Plotted
from anima_exp.compare.page.leaderboard import ROWS, leaderboard
from anima_exp.compare.published import Beside
from anima_exp.compare.runs import Run, State
from anima_exp.page.section import Section
from anima_exp.page.words import count, escaped

_FILTER = """<div class="controls"><label class="wide">Filter
<input type="search" id="leaderboard-filter" placeholder="words, or rank=8" autocomplete="off"
 spellcheck="false" aria-controls="leaderboard-table"></label>
<span class="soft" id="leaderboard-shown" role="status"></span></div>
"""


def sections(comparison: Comparison, plotted: Plotted) -> Iterator[Section]:
    """`plotted` is data.plotted(comparison)."""
    metric = comparison.metric
    if comparison.rows:
        lead = _leaderboard_lead(comparison)
        body = _FILTER + leaderboard(comparison)
        yield Section("leaderboard", "Leaderboard", "Leaderboard", lead, body)
    if found := comparison.baseline:
        lead = f"Mean difference. {escaped(found.told)}"
        body = tables.baseline(found, metric)
        yield Section("baseline", "Baseline", f"Against {found.label}", lead, body)
    for number, beside in enumerate(comparison.published):
        name = f"published-{number}" if number else "published"
        body = tables.published(beside, metric)
        heading = f"Beside {beside.table.source}"
        yield Section(name, "Published", heading, _published_lead(beside), body)
    yield from figures.sections(comparison, plotted)
    if unhappy := tables.unhappy(comparison):
        body = tables.failures(comparison)
        yield Section("failures", "Failures", _states(unhappy), _failures_lead(unhappy), body)
    if comparison.runs.done():
        yield setup.section(comparison)


def _leaderboard_lead(comparison: Comparison) -> str:
    rows, metric = comparison.shown, comparison.metric
    better = "smaller" if metric.minimize else "larger"
    told = [
        "Only settings that differ are shown; the best is highlighted.",
        f"By {escaped(metric.name)}: {better} is better.",
    ]
    if alike := costs.alike(rows):
        told.append(f"Each took {alike}.")
    if any(row.score.n > 1 for row in rows):
        told.append("The line is the 95 % confidence interval of the mean over the seeds.")
    if any(row.score.n == 1 for row in rows):
        told.append("A hollow dot is a single run: without repeats its uncertainty is unknown.")
    if comparison.repeated:
        told.append(escaped(comparison.repeated))
    if comparison.left_out:
        told.append(escaped(comparison.left_out))
    if len(rows) > ROWS:
        told.append(f"The first {ROWS:,} of {len(rows):,} rows.")
    if comparison.unscored:
        told.append(f"{count(len(comparison.unscored), 'done run')} without this score.")
    return " ".join(told)


def _published_lead(beside: Beside) -> str:
    told = []
    if not beside.table.confirmed:
        told.append('<span class="tag warn">unconfirmed</span>')
        told.append("These figures have not been checked against the paper.")
    if beside.table.note:
        told.append(escaped(beside.table.note))
    if beside.matched:
        told.append(f"Ours have the same {', '.join(map(escaped, beside.matched))}.")
    keys = dict.fromkeys(key for row, _, _ in beside.rows for key in row)
    if replaced := [escaped(key) for key in keys if key not in beside.matched]:
        told.append(f"They differ from the paper's in {', '.join(replaced)}.")
    return " ".join(told)


def _states(runs: list[Run]) -> str:
    words = {State.failed: "failed", State.stopped: "stopped early", State.unfinished: "unfinished"}
    told = [word for state, word in words.items() if any(run.state is state for run in runs)]
    text = " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)
    return text[0].upper() + text[1:]


def _failures_lead(runs: list[Run]) -> str:
    told = ["The same command again continues what is unfinished and tries what failed."]
    if len(runs) > tables.FAILURES:
        told.append(f"The first {tables.FAILURES} of {len(runs):,} are shown.")
    return " ".join(told)
