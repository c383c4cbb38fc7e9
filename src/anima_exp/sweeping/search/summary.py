"""Print what a search will do before it starts, and its results after it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from anima_exp.display import console
from anima_exp.sweeping import summary
from anima_exp.sweeping.cell import Cell
from anima_exp.sweeping.checks import metric
from anima_exp.sweeping.manifest import SweepFile
from anima_exp.sweeping.search.space import Search, Space
from anima_exp.sweeping.search.study import AGAIN, CELL, MISTAKE, Study
from anima_exp.system.terminal import printable

_ENOUGH_TO_COMPARE = 8  # finished trials from which the importance of settings is printed
_WORDS = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "partly done",
}


def before(
    name: str, question: str | None, folder: Path, space: Space, search: Search,
    trials: Sequence[FrozenTrial],
) -> None:  # fmt: skip
    """Print what is searched, how, and how far an earlier start came."""
    states = Counter(trial.state for trial in trials)
    counts = [f"{states[state]} {word}" for state, word in _WORDS.items() if states[state]]
    rows = {
        "search": name + (f": {question}" if question else ""),
        "over": " ".join(space.lines()),
        "trials": f"{search.n_trials}: {', '.join(counts) or 'all new'}",
        "by": f"{search.sampler}, seed {search.seed}; pruner {search.pruner}",
        "folder": f"{folder}",
    }
    console.show_plan(rows)
    if "seed" in space.searched:
        console.say(
            "seed     is searched like any setting, so the best trial may only have a lucky seed. "
            "Leave seed out, and repeat the best trial with other seeds afterwards."
        )


def not_started() -> None:
    console.say("\nNothing was started, because dry_run=true.")


def after(file: SweepFile, study: Study, failed: list[Cell]) -> int:
    """Print counts, the best trial, importances and failures; return how many trials failed."""
    trials = [trial for trial in study.trials if trial.state.is_finished()]
    states = Counter(trial.state for trial in trials)
    mistakes = Counter(t.user_attrs[MISTAKE] for t in trials if MISTAKE in t.user_attrs)
    suggested = [trial for trial in trials if AGAIN not in trial.user_attrs]
    cells = [trial.user_attrs[CELL] for trial in suggested if CELL in trial.user_attrs]
    counts = [f"{states[TrialState.COMPLETE]} of {study.search.n_trials} trials done"]
    for number, word in (
        (states[TrialState.PRUNED], "pruned"),
        (len(failed), "failed"),
        (mistakes.total(), "could not run"),
        (len(cells) - len(set(cells)), "repeated another"),
    ):
        counts += [f"{number} {word}"] * bool(number)
    console.say(", ".join(counts))
    _best(file, study)
    summary.failures(failed)
    for mistake, times in mistakes.items():
        console.say(printable(f"refused  {mistake}" + (f" ({times} trials)" if times > 1 else "")))
    if states[TrialState.COMPLETE]:
        summary.how_to_compare(file)
    nothing_ran = bool(mistakes) and not cells
    return len(failed) or (mistakes.total() if nothing_ran else 0)


def _best(file: SweepFile, study: Study) -> None:
    best = study.best
    if best is None or best.value is None:
        return
    cell = next(cell for cell in file.grid.cells if cell.name == best.user_attrs[CELL])
    one = metric(cell.config)
    value = one.number(best.value)
    console.say(printable(f"best     {one.name} {value}: {cell.label} ({cell.folder})"))
    console.say(printable(f"repeat   {summary.repeats(cell)}"))
    done = sum(trial.state is TrialState.COMPLETE for trial in study.trials)
    if done >= _ENOUGH_TO_COMPARE:
        shares = sorted(study.importance().items(), key=lambda item: -item[1])
        listed = ", ".join(f"{key} {share:.0%}" for key, share in shares)
        # fANOVA models all searched settings, ranges included, but counts chance as an effect.
        console.say(
            f"matters  {listed} (fANOVA over {done} trials: an estimate that includes chance)"
        )
