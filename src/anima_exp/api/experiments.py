"""Go from a config to records and their comparison: compose, plan, train, sweep, runs, compare.

Each function does what the command of its name does. Nothing prints, sets a signal handler or
changes the environment, unless `verbose=True` requests the output of the command. What is heavy is
imported when it is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import warn

from anima_exp.api.events import event_context
from anima_exp.cli.from_python import Setting, as_words
from anima_exp.cli.from_python import compose as composed
from anima_exp.config import RunConfig
from anima_exp.errors import ConfigError, RunError
from anima_exp.events import Listener
from anima_exp.results.record import RECORD, Record

if TYPE_CHECKING:
    from anima_exp.comparison.notebook import Comparison
    from anima_exp.planner.cost import Cost
    from anima_exp.system.signals import StopRequest


def compose(*words: str, config_dir: str | Path | None = None, **settings: Setting) -> RunConfig:
    """Compose the config of a run from the words of the command line, and check it.

    Args:
        words: what follows `anima-exp train`: `"model=llama7b"`, `"lora.rank=8"`.
        config_dir: a folder with config files of your own, as `--config-dir`.
        settings: more settings, as values of Python. Two underscores stand for a dot, and a name
            with dots is written as `**{"lora.rank": 8}`.

    Raises:
        ConfigError: if a setting is unknown or impossible. The text is that of the command line.

    Examples:
        >>> config = ax.compose("model=tiny", "lora.rank=8", optimizer__learning_rate=1e-4)
        >>> config.lora.rank
        8
    """
    return composed(RunConfig, [*words, *as_words(settings)], config_dir=config_dir)


def plan(config: RunConfig) -> "Cost":
    """Estimate memory and hours of a run, before anything is loaded.

    Returns:
        The cost: `peak_gib` per GPU and `hours` of training, for this machine if the run fits it,
        else for the first GPU type that is large enough; `options` holds all. A notebook shows a
        table.

    Raises:
        AnimaError: if a file is missing or the shape of the model is unknown.

    Examples:
        >>> cost = ax.plan(ax.compose("model=guanaco33b", "data=belle_merge"))
        >>> [option.name for option in cost.options if option.fits][-1]
        'H200'
    """
    from anima_exp.cli import adapter_settings
    from anima_exp.experiment.preflight import check_files
    from anima_exp.planner.cost import cost

    check_files(config)
    adapter_settings.check(config.model, config.lora)
    return cost(config)


def train(
    config: RunConfig,
    *,
    verbose: bool = False,
    on_event: Listener | None = None,
    stop: "StopRequest | None" = None,
) -> Record:
    """Train and evaluate a run, resume it, or return at once if it is done.

    Ctrl-C is a KeyboardInterrupt. The next call resumes from the last checkpoint.

    Args:
        verbose: print what the command prints.
        on_event: called with each event (`anima_exp.events`), instead of printing.
        stop: lets another thread stop the run with a checkpoint.

    Returns:
        The record of the run: `scores_before`, `scores_after`, `adapter`, `folder` and more.

    Raises:
        AnimaError: if the run cannot be trained. Its folder says why in failure.txt.
        RunInterrupted: if `stop` was requested, and a checkpoint is saved.

    Examples:
        >>> record = ax.train(config)
        >>> record.scores_after["heldout_loss"] < record.scores_before["heldout_loss"]
        True
    """
    from anima_exp.experiment.run import run

    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"train takes what compose returns, not a {type(config).__name__}. "
            'Write config = ax.compose("data=sample"), then ax.train(config).'
        )
    with event_context(verbose, on_event):
        return run(config, stop=stop)


def sweep(
    config: RunConfig,
    grid: Mapping[str, Setting] | None = None,
    *,
    jobs: int | None = None,
    verbose: bool = False,
) -> list[Record]:
    """Train every combination of settings that is not done yet, each in a process of its own.

    It is `anima-exp train -m`: all combinations are checked before one starts, a run
    that fails does not stop the others, and the same call again does only what is missing.

    Args:
        config: what all runs share.
        grid: a list of values for each setting. Without it, the grid of `sweep=NAME` in `config`.
        jobs: runs at once; by default one for each GPU, or one on a CPU.
        verbose: print what the command prints.

    Returns:
        The records in the order of the grid, the last setting varying fastest. Runs that early
        stopping has ended have none.

    Raises:
        ConfigError: if a combination is impossible. Nothing was started.
        SweepError: if some runs failed, and all others are done. Its `records` are those, and its
            `failures` hold the reason of each run that failed.

    Examples:
        >>> records = ax.sweep(config, {"lora.rank": [4, 8]})
        >>> [record.settings["lora.rank"] for record in records]
        [4, 8]
    """
    from anima_exp.sweeping.run_grid import run_grid

    with event_context(verbose):
        return run_grid(config, grid or {}, jobs=jobs, shown=verbose)


def runs(folder: str | Path = "runs") -> list[Record]:
    """Return the records of all finished runs in a folder, those that ended first at the front.

    A record that cannot be read is left out with a warning.

    Raises:
        RunError: if there is no such folder.

    Examples:
        >>> [record.name for record in ax.runs("runs")]
        ['tiny-sample-...', ...]
    """
    from anima_exp.system.paths import expanded

    place = expanded(folder)
    if not place.is_dir():
        raise RunError(f"{folder}: there is no such folder. Give the folder that runs are made in.")
    records = []
    for file in place.glob(f"*/{RECORD}"):
        try:
            records.append(Record.load(file))
        except RunError as error:
            warn(f"{error} It is left out.", stacklevel=2)
    return sorted(records, key=lambda record: (record.finished, record.name))


def compare(
    runs: Record | str | Path | Sequence[Record | str | Path],
    *,
    metric: str | None = None,
    filters: Sequence[str] = (),
    sort: str | None = None,
    best_per: str | None = None,
    baseline: str | None = None,
    top: int | None = None,
) -> "Comparison":
    """Compare finished runs: which is better, by how much, and whether that is chance.

    Args:
        runs: records, folders of runs, or a folder that holds runs or a sweep.
        metric: the score to compare by; by default that of the sweep, else `heldout_loss`.
        filters: conditions as `"lora.rank>=8"`.
        sort: a score, a cost or a setting to sort the rows by, instead of the metric.
        best_per: keep only the best row for each value of this setting.
        baseline: the name of a run, or `"setting=value"`: differences from it are shown.
        top: keep only so many rows.

    Returns:
        The comparison: `rows`, `verdict`, `to_pandas()`, `to_html(path)`. Print it to see it.

    Raises:
        RunError: if a folder holds no run.
        ConfigError: if no run has the metric, or an option names nothing that there is.

    Examples:
        >>> table = ax.compare(records, metric="heldout_loss")
        >>> table.rows[0].rank
        1
    """
    from anima_exp.comparison.build import build
    from anima_exp.comparison.extra_scores import with_evaluations
    from anima_exp.comparison.notebook import Comparison
    from anima_exp.comparison.runs import load as read

    several = [runs] if isinstance(runs, Record | str | Path) else runs
    places = [one.folder if isinstance(one, Record) else Path(one) for one in several]
    result = build(
        with_evaluations(read(places)), metric=metric, filters=filters, sort=sort,
        best_per=best_per, baseline=baseline, top=top,
    )  # fmt: skip
    return Comparison.of(result)
