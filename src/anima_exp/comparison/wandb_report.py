"""Save a comparison as a W&B workspace in the project of the runs."""

from importlib.util import find_spec
from typing import Any

from anima_exp.comparison.build import Comparison
from anima_exp.comparison.export import markdown
from anima_exp.comparison.runs import Run
from anima_exp.comparison.settings import short
from anima_exp.errors import ConfigError, RunError, first_line
from anima_exp.libraries.wandb_workspaces_internals import axis, library, scatter


def publish(comparison: Comparison) -> str:
    """Save the workspace and return its address.

    Raises:
        ConfigError: if wandb-workspaces, a key, or a run that went to W&B is missing.
        RunError: if W&B did not take it.
    """
    from anima_exp.results.trackers.wandb_account import has_key

    if find_spec("wandb_workspaces") is None:
        raise ConfigError(
            "wandb=true needs wandb-workspaces: pip install 'anima-exp[wandb-report]'"
        )
    if not has_key():
        raise ConfigError("wandb=true needs a W&B key, and there is none. Run wandb login once.")
    entity, project = where(comparison)
    name = comparison.metric.name
    known = {name for run in comparison.runs.done() if run.record for name in run.record.scores}
    if name not in known:
        raise ConfigError(
            f"wandb=true: {name} was measured after training, so the runs in W&B do not have it. "
            f"Give metric=NAME, one of: {', '.join(sorted(known))}; or use html=FILE."
        )
    try:
        return _save(comparison, entity=entity, project=project)
    except Exception as error:  # any error of W&B; nothing is lost
        reason = first_line(error)
        raise RunError(
            f"W&B did not take the comparison: {reason} html=FILE shows the same offline."
        ) from error


def where(comparison: Comparison) -> tuple[str | None, str]:
    """Return the entity (None: the user's own) and the project of the runs."""
    tracked = [run for run in comparison.runs.done() if run.record and run.record.wandb]
    if not tracked:
        raise ConfigError(
            "wandb=true: none of the runs was sent to W&B. Train with tracking=wandb. For offline "
            "runs, record.json has the command that syncs them."
        )
    places = {
        (run.settings.get("tracking.entity"), run.settings["tracking.project"]) for run in tracked
    }
    if len(places) > 1:
        named = ", ".join(sorted(f"{entity or ''}/{project}" for entity, project in places))
        raise ConfigError(
            f"wandb=true: the runs are in several projects ({named}). Give runs of one."
        )
    return places.pop()


def workspace(comparison: Comparison, *, entity: str, project: str) -> Any:
    """Return the unsaved workspace, with panels for the settings that differ and the metric."""
    panels, ws = library("reports.v2"), library("workspaces")
    metric, keys = comparison.metric, comparison.keys
    runs = comparison.runs.done()
    score = panels.SummaryMetric(metric.name)
    several_seeds = len({run.seed for run in runs}) > 1
    curves = [
        panels.LinePlot(x="Step", y=[metric.name], title=f"{metric.name} at every evaluation"),
        panels.LinePlot(x="Step", y=["loss"], title="training loss"),
    ]
    settings = [
        _scatter(key, score) if _numeric(key, runs) else _bars(key, metric.name) for key in keys
    ]
    everything = [
        panels.ParallelCoordinatesPlot(
            columns=[
                *map(_axis, keys),
                panels.ParallelCoordinatesPlotColumn(score, inverted=metric.minimize),
            ],
            title=f"All settings and {metric.name}",
        ),
        panels.ParameterImportancePlot(with_respect_to=metric.name),
        panels.RunComparer(diff_only="split"),
    ]
    text = panels.MarkdownPanel(markdown=markdown(comparison))
    sections = {
        "Comparison": [text],
        "Learning curves": curves,
        "Settings": settings,
        "Everything": everything,
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=_title(comparison),
        sections=[ws.Section(name, panels=p, is_open=True) for name, p in sections.items() if p],
        runset_settings=ws.RunsetSettings(
            filters=_filters(runs, whole=not comparison.filtered),
            # Group the seeds of a cell into one line.
            groupby=[ws.Config(_stored(key)) for key in keys] if several_seeds else [],
            order=[ws.Ordering(ws.Summary(metric.name), ascending=metric.minimize)],
            pinned_columns=[
                f"summary:{metric.name}",
                *(f"config:{_stored(key)}" for key in keys),
            ],
        ),
        settings=ws.WorkspaceSettings(max_runs=100),
    )


def _save(comparison: Comparison, *, entity: str | None, project: str) -> str:
    """Save the workspace and return its address. No other function here uses the network."""
    import wandb

    owner = str(entity or wandb.Api().default_entity)
    return str(workspace(comparison, entity=owner, project=project).save().url)


def _title(comparison: Comparison) -> str:
    names = [sweep.name for sweep in comparison.runs.sweeps]
    return " and ".join(names) if names else f"{comparison.metric.name} of {len(comparison.cells)}"


def _filters(runs: list[Run], *, whole: bool) -> Any:
    """Select the sweep's group if all of it is compared; otherwise the runs by name."""
    ws = library("workspaces")
    groups = {run.settings.get("tracking.group") for run in runs}
    if whole and len(groups) == 1 and (group := groups.pop()):
        return ws.And(ws.Metric("Group") == group)
    return ws.And(ws.Metric("Name").isin([run.record.name for run in runs if run.record]))


def _stored(key: str) -> str:
    """Return the key under which W&B stores a setting. Our keys are flat, so `.value` is last.

    wandb-workspaces treats `lora.rank` as nested and would request `lora.value.rank`.
    """
    return f"{key}.value"


def _axis(key: str) -> Any:
    config = library("reports.v2").Config(key)
    return axis(_stored(key), config, display_name=short(key))


def _scatter(key: str, score: object) -> Any:
    config = library("reports.v2").Config(key)
    return scatter(_stored(key), x=config, y=score, title=short(key))


def _bars(key: str, metric: str) -> Any:
    return library("reports.v2").BarPlot(
        metrics=[metric], groupby=_stored(key), groupby_aggfunc="mean", title=short(key)
    )


def _numeric(key: str, runs: list[Run]) -> bool:
    values = [run.settings.get(key) for run in runs]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
