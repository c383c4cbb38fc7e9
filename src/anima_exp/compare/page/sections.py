"""A comparison -> the sections of the page; one with nothing to show is left out."""

from collections.abc import Iterator
from dataclasses import dataclass

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.page import tables
from anima_exp.compare.page.data import RUNS, points
from anima_exp.compare.page.leaderboard import ROWS, constant, leaderboard
from anima_exp.compare.page.words import count, escaped
from anima_exp.compare.runs import State

Plotted = dict[str, list[dict[str, object]]]


@dataclass(frozen=True)
class Section:
    name: str  # in the address
    short: str  # in the contents
    heading: str
    lead: str  # HTML
    body: str

    def html(self) -> str:
        lead = f'<p class="lead">{self.lead}</p>\n' if self.lead else ""
        return (
            f'<section id="{self.name}" aria-labelledby="{self.name}-heading">\n'
            f'<h2 id="{self.name}-heading">{escaped(self.heading)}</h2>\n{lead}{self.body}\n'
            "</section>"
        )


def sections(comparison: Comparison, plotted: Plotted) -> Iterator[Section]:
    """`plotted` is data.plotted(comparison)."""
    metric = escaped(comparison.metric.name)
    better = "smaller" if comparison.metric.minimize else "larger"
    if comparison.rows:
        yield Section(
            "leaderboard",
            "Leaderboard",
            "Leaderboard",
            "Only settings that differ are shown; the best is highlighted. "
            f"By {metric}: {better} is better. {_uncertainty(comparison)}",
            _FILTER + leaderboard(comparison),
        )
    if comparison.baseline:
        found = comparison.baseline
        lead = f"Mean paired difference; a pair shares {escaped(found.pairing)}."
        body = tables.baseline(found, comparison.metric)
        yield Section("baseline", "Baseline", f"Against {found.label}", lead, body)
    for number, beside in enumerate(comparison.published):
        told = [escaped(beside.table.note)] if beside.table.note else []
        if beside.matched:
            matched = ", ".join(map(escaped, beside.matched))
            told.append(f"Our runs stand beside the rows with the same {matched}.")
        if not beside.table.confirmed:
            told.insert(0, '<span class="tag warn first">unconfirmed</span> Not yet held against '
                        "the paper by anyone.")  # fmt: skip
        name = f"published-{number}" if number else "published"
        body = tables.published(beside, comparison.metric)
        yield Section(name, "Published", f"Beside {beside.table.source}", " ".join(told), body)
    if any(line["training"][0] or line["evaluations"][0] for line in plotted["runs"]):  # type: ignore[index]
        yield Section("curves", "Curves", "Learning curves", _curves_lead(comparison, plotted),
                      _curves_body(plotted, comparison.metric.name))  # fmt: skip
    if comparison.effects.effects:
        yield _effects(comparison)
    several = [one for one in plotted["settings"] if len(one["levels"]) > 1]  # type: ignore[arg-type]
    if len(several) > 1 and len(plotted["cells"]) > 2:
        lead = f"Mean {metric}, over all other settings. A cross marks a pair that has no run."
        yield Section("pairs", "Two settings", "Two settings together", lead, _HEAT)
    if several and len(plotted["cells"]) > 2:
        lead = (
            "Each line is a cell on its way through the settings to its score, the better end "
            "up; of one level, the better lines are the upper ones. The best tenth is orange."
        )
        yield Section("paths", "All settings", "All settings at once", lead, _PARALLEL)
    if plotted["prompts"]:
        lead = "The same questions to two runs: at first the best and the worst."
        yield Section("generations", "Answers", "What the models answer", lead, _ANSWERS)
    if unhappy := tables.unhappy(comparison):
        states = {run.state for run in unhappy}
        words = {State.failed: "Failed", State.stopped: "stopped early",
                 State.unfinished: "unfinished"}  # fmt: skip
        told = [word for state, word in words.items() if state in states]
        heading = " and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)
        lead = "The sweep's command continues what is unfinished and tries failed runs again."
        if len(unhappy) > tables.FAILURES:
            lead += f" The first {tables.FAILURES} of {len(unhappy):,} are shown."
        yield Section("failures", "Failures", heading[0].upper() + heading[1:], lead,
                      tables.failures(comparison))  # fmt: skip


def _uncertainty(comparison: Comparison) -> str:
    rows = comparison.shown
    alone = any(row.score.n == 1 for row in rows)
    told = []
    if rows and (alike := constant(rows)):
        told.append(f"Each took {alike}.")
    if any(row.score.n > 1 for row in rows):
        told.append("The line is the 95 % confidence interval of the mean over seeds.")
    if alone:
        told.append("A hollow dot is a single run, of which nobody knows how lucky it was.")
    if len(rows) > ROWS:
        told.append(f"The first {ROWS:,} of {len(rows):,} rows.")
    if comparison.unscored:
        told.append(f"{count(len(comparison.unscored), 'done run')} without this score.")
    return " ".join(told)


def _curves_lead(comparison: Comparison, plotted: Plotted) -> str:
    drawn = len(plotted["runs"])
    told = [f"One line per run, thinned to at most {points(drawn)} points; training loss is the "
            "mean over the steps between them. A cross is where a run was stopped early. Double "
            "click: everything."]  # fmt: skip
    if drawn == RUNS:
        total = sum(bool(run.settings) for run in comparison.runs.runs)
        if total > drawn:
            told.append(f"{drawn:,} of {total:,} runs, evenly over the ranking.")
    return " ".join(told)


def _curves_body(plotted: Plotted, metric: str) -> str:
    figures = [
        f'<figure><div class="plot" id="{name}-plot" role="img" aria-label="{escaped(told)}"></div>'
        f"<figcaption>{escaped(told)}</figcaption></figure>"
        for name, told in (
            ("training", "Training loss by step"),
            ("evaluations", f"{metric} at evaluations, by step"),
        )
        if any(run["training" if name == "training" else "evaluations"][0]  # type: ignore[index]
               for run in plotted["runs"])
    ]  # fmt: skip
    return (
        '<div class="controls"><label>Colour by<select id="curves-colour"></select></label>'
        '<label>Steps<select id="curves-steps"></select></label></div>'
        '<div class="levels" id="curves-levels" role="group" aria-label="Levels shown"></div>'
        f'<div class="plots two">{"".join(figures)}</div>'
    )


def _effects(comparison: Comparison) -> Section:
    effects, figures = comparison.effects, []
    for place, effect in enumerate(effects.effects):
        key, share = escaped(effect.key), f"{100 * effect.share:.1f} %"
        together = ""
        if effect.together:
            others = ", ".join(map(escaped, effect.together))
            together = f"<figcaption>Changes together with {others}: one effect.</figcaption>"
        figures.append(
            f'<figure><h3>{key}</h3><p class="share">{share} of variance<i>'
            f'<i style="width:{100 * effect.share:.1f}%"></i></i></p>'
            f'<div class="plot" id="effect-{place}" '
            f'role="img" aria-label="Mean at each level of {key}; the numbers are below">'
            f"</div>{together}</figure>"
        )
    told = [
        "Mean at each level with its 95 % interval, every level of the other settings weighing "
        f"the same. Interactions and chance: {100 * effects.residual:.1f} % of the variance."
    ]
    if not effects.balanced:
        told.append("The grid has holes, so the shares need not add up to 100 %.")
    if effects.skipped:
        skipped = ", ".join(map(escaped, effects.skipped))
        told.append(f"Left out, as nearly every run has a value of its own: {skipped}.")
    body = (
        f'<div class="plots small">{"".join(figures)}</div><details><summary>The numbers</summary>'
        f"{tables.levels(effects, comparison.metric)}</details>"
    )
    return Section("effects", "Effects", "What matters most", " ".join(told), body)


_FILTER = """<div class="controls"><label class="wide">Filter
<input type="search" id="leaderboard-filter" placeholder="words, or rank=8" autocomplete="off"
 spellcheck="false" aria-controls="leaderboard-table"></label>
<span class="soft" id="leaderboard-shown" role="status"></span></div>
"""
_HEAT = """<div class="controls">
<label>Rows<select id="heat-row"></select></label>
<label>Columns<select id="heat-column"></select></label></div>
<figure><div class="plot" id="heat-plot" role="img" aria-label="Heat map of two settings"></div>
</figure>"""
_PARALLEL = """<figure class="sideways" tabindex="0" role="region"
 aria-label="All settings at once"><div class="plot" id="parallel-plot" role="img"
 aria-label="One line per cell"></div></figure>"""
_ANSWERS = """<div class="controls">
<label class="wide">Question<select id="prompt"></select></label>
<label class="wide">Left<select id="run-left"></select></label>
<label class="wide">Right<select id="run-right"></select></label></div>
<p class="question said" id="question" dir="auto"></p>
<div class="answers" id="answers" aria-live="polite"></div>"""
