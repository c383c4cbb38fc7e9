"""Make the sections with plots: headings, controls and empty elements, which scripts/ fills."""

from collections.abc import Iterator

from anima_exp.comparison.build import Comparison
from anima_exp.comparison.effects import Effect
from anima_exp.comparison.page import tables
from anima_exp.comparison.page.data import Plotted, points
from anima_exp.display.html_page import Section, escaped


def sections(comparison: Comparison, plotted: Plotted) -> Iterator[Section]:
    metric = escaped(comparison.metric.name)
    drawn = [which for which in _CURVES if any(run[which][0] for run in plotted["runs"])]
    if drawn:
        lead = _curves_lead(comparison, plotted)
        yield Section("curves", "Curves", "Learning curves", lead, _curves(drawn, metric))
    yield from _effects(comparison)
    several = [setting for setting in plotted["settings"] if len(setting["levels"]) > 1]
    if len(several) > 1 and len(plotted["cells"]) > 2:
        lead = f"Mean {metric} over all other settings. A cross marks a pair without a run."
        yield Section("pairs", "Two settings", "Two settings together", lead, _PAIRS)
    if several and len(plotted["cells"]) > 2:
        yield _paths(plotted, axes=len(several) + 1)
    if plotted["prompts"]:
        lead = "Two runs answer the same question. At first these are the best and the worst run."
        yield Section("generations", "Answers", "What the models answer", lead, _ANSWERS)


_CURVES = {"training": "Training loss by step", "evaluations": "{metric} at evaluations, by step"}


def _curves_lead(comparison: Comparison, plotted: Plotted) -> str:
    drawn, begun = len(plotted["runs"]), sum(bool(r.settings) for r in comparison.runs.runs)
    text = [
        f"One line per run, with at most {points(drawn)} points. Training loss is averaged over "
        "the steps between two points. A cross marks where a run was stopped early."
    ]
    if begun > drawn:
        text.append(f"{drawn:,} of {begun:,} runs are shown, evenly spaced in the ranking.")
    return " ".join(text)


def _curves(drawn: list[str], metric: str) -> str:
    plots = []
    for which in drawn:
        text = _CURVES[which].format(metric=metric)
        plots.append(
            f'<figure><div class="plot" id="{which}-plot" role="img" aria-label="{text}"></div>'
            f"<figcaption>{text}</figcaption></figure>"
        )
    return f"""<div class="controls">
<label>Colour by<select id="curves-colour"></select></label>
<label>Steps<select id="curves-steps"></select></label></div>
<div class="levels" id="curves-levels" role="group" aria-label="Levels shown"></div>
<div class="plots two">{"".join(plots)}</div>"""


def _effects(comparison: Comparison) -> Iterator[Section]:
    effects = comparison.effects
    # The indices are those of data.py. The means of single seeds are no information.
    plots = [
        _effect(place, effect)
        for place, effect in enumerate(effects.effects)
        if effect.key != "seed" and not effects.saturated
    ]
    lead = " ".join(_effects_lead(comparison)) if plots else ""
    numbers = bool(lead)
    if effects.unstated and effects.skipped:
        lead = escaped(effects.unstated)
    plots += [_scatter(comparison.keys.index(key), key) for key in effects.skipped]
    body = f'<div class="plots small">{"".join(plots)}</div>'
    if numbers:
        levels = tables.levels(effects, comparison.metric)
        body += f"\n<details><summary>The numbers</summary>\n{levels}</details>"
    if plots:
        yield Section("effects", "Effects", "What matters most", lead, body)


def _effects_lead(comparison: Comparison) -> Iterator[str]:
    effects = comparison.effects
    yield (
        "Mean at each level, with its 95 % interval. All levels of the other settings have equal "
        "weight."
    )
    skipped = [escaped(key) for key in effects.skipped]
    rest = f"{', '.join(skipped)} and all else" if skipped else "interactions and chance"
    shares = [("the seed", effect.share) for effect in effects.effects if effect.key == "seed"]
    shares.append((rest, effects.residual))
    text = "; ".join(f"{what} {100 * share:.1f} %" for what, share in shares)
    yield f"The rest of the variance: {text}."
    if effects.overlap >= 0.0005:
        yield (
            "The grid is incomplete, so settings overlap. A share counts only what no other "
            f"setting explains; {100 * effects.overlap:.1f} % may be due to several settings."
        )


def _effect(place: int, effect: Effect) -> str:
    key, share = escaped(effect.key), f"{100 * effect.share:.1f}"
    together = ""
    if effect.together:
        others = ", ".join(map(escaped, effect.together))
        together = (
            f"<figcaption>Changes together with {others}: their effects cannot be separated."
            "</figcaption>"
        )
    return f"""<figure><h3>{key}</h3>
<p class="share">{share} % of variance<i><i style="width:{share}%"></i></i></p>
<div class="plot" id="effect-{place}" role="img"
 aria-label="Mean at each level of {key}; the numbers are below"></div>{together}</figure>"""


def _scatter(place: int, key: str) -> str:
    return f"""<figure><h3>{escaped(key)}</h3>
<p class="share">Nearly every cell has its own value: one dot per cell</p>
<div class="plot" id="scatter-{place}" role="img"
 aria-label="Score of each cell by {escaped(key)}"></div></figure>"""


def _paths(plotted: Plotted, *, axes: int) -> Section:
    drawn, cells = len(plotted["paths"]), len(plotted["cells"])
    lead = _PATHS_LEAD
    if drawn < cells:
        lead += f" {drawn:,} of {cells:,} cells are shown, evenly spaced in the ranking."
    body = _PATHS.format(wide=9 * axes)  # rem; the box scrolls if this is too wide
    return Section("paths", "All settings", "All settings at once", lead, body)


_PAIRS = """<div class="controls">
<label>Rows<select id="heat-row"></select></label>
<label>Columns<select id="heat-column"></select></label></div>
<figure><div class="plot" id="heat-plot" role="img" aria-label="Heat map of two settings"></div>
</figure>"""
_PATHS_LEAD = (
    "Each line is one cell, from its settings to its score (best at the top). Cells with the same "
    "value are next to each other, the better ones above. The best 10 % are orange."
)
_PATHS = """<figure class="sideways" tabindex="0" role="region" aria-label="All settings at once">
<div class="plot" id="parallel-plot" style="min-width: {wide}rem" role="img"
 aria-label="One line per cell"></div></figure>"""
_ANSWERS = """<div class="controls">
<label class="wide">Question<select id="prompt"></select></label>
<label class="wide">Left<select id="run-left"></select></label>
<label class="wide">Right<select id="run-right"></select></label></div>
<p class="question said" id="question" dir="auto"></p>
<div class="answers" id="answers" aria-live="polite"></div>"""
