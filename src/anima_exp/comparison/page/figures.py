"""Make the sections with plots: a lead and empty plots, which scripts/ fills."""

from collections.abc import Iterator

from anima_exp.comparison.build import Comparison
from anima_exp.comparison.effects import Effect
from anima_exp.comparison.page import tables
from anima_exp.comparison.page.data import Plotted, points
from anima_exp.display.html_page import Plot, Section


def sections(comparison: Comparison, plotted: Plotted) -> Iterator[Section]:
    metric = comparison.metric.name
    drawn = [which for which in _CURVES if any(run[which][0] for run in plotted["runs"])]
    if drawn:
        yield Section(
            "curves",
            "Curves",
            "Learning curves",
            "curves.html.jinja",
            {
                "plots": [
                    Plot(f"{which}-plot", _CURVES[which].format(metric=metric)) for which in drawn
                ]
            },
            lead=_curves_lead(comparison, plotted),
        )
    yield from _effects(comparison)
    several = [setting for setting in plotted["settings"] if len(setting["levels"]) > 1]
    if len(several) > 1 and len(plotted["cells"]) > 2:
        yield Section(
            "pairs",
            "Two settings",
            "Two settings together",
            "pairs.html.jinja",
            {"plot": Plot("heat-plot", "Heat map of two settings")},
            lead=f"Mean {metric} over all other settings. A cross marks a pair without a run.",
        )
    if several and len(plotted["cells"]) > 2:
        yield _paths(plotted, axes=len(several) + 1)
    if plotted["prompts"]:
        yield Section(
            "generations",
            "Answers",
            "What the models answer",
            "generations.html.jinja",
            {},
            lead="Two runs answer the same question. At first these are the best and the worst "
            "run.",
        )


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


def _effects(comparison: Comparison) -> Iterator[Section]:
    effects = comparison.effects
    # The indices are those of data.py. The means of single seeds are no information.
    drawn = [
        _effect(place, effect)
        for place, effect in enumerate(effects.effects)
        if effect.key != "seed" and not effects.saturated
    ]
    scatters = [_scatter(comparison.keys.index(key), key) for key in effects.skipped]
    lead = " ".join(_effects_lead(comparison)) if drawn else ""
    if effects.unstated and effects.skipped:
        lead = effects.unstated
    if drawn or scatters:
        table = tables.levels(effects, comparison.metric) if drawn else None
        content = {"effects": drawn, "scatters": scatters, "table": table}
        yield Section(
            "effects", "Effects", "What matters most", "effects.html.jinja", content, lead=lead
        )


def _effects_lead(comparison: Comparison) -> Iterator[str]:
    effects = comparison.effects
    yield (
        "Mean at each level, with its 95 % interval. All levels of the other settings have equal "
        "weight."
    )
    skipped = list(effects.skipped)
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


def _effect(place: int, effect: Effect) -> dict[str, object]:
    label = f"Mean at each level of {effect.key}; the numbers are below"
    return {
        "key": effect.key,
        "share": f"{100 * effect.share:.1f}",
        "together": effect.together,
        "plot": Plot(f"effect-{place}", label),
    }


def _scatter(place: int, key: str) -> dict[str, object]:
    return {"key": key, "plot": Plot(f"scatter-{place}", f"Score of each cell by {key}")}


def _paths(plotted: Plotted, *, axes: int) -> Section:
    drawn, cells = len(plotted["paths"]), len(plotted["cells"])
    lead = _PATHS_LEAD
    if drawn < cells:
        lead += f" {drawn:,} of {cells:,} cells are shown, evenly spaced in the ranking."
    plot = Plot("parallel-plot", "One line per cell", width_rem=9 * axes)
    return Section(
        "paths", "All settings", "All settings at once", "paths.html.jinja", {"plot": plot}, lead
    )


_PATHS_LEAD = (
    "Each line is one cell, from its settings to its score (best at the top). Cells with the same "
    "value are next to each other, the better ones above. The best 10 % are orange."
)
