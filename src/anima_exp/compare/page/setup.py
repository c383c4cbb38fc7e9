"""The foot of the page: what all runs share, and by which code and versions they were made."""

from collections.abc import Iterator, Sequence

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.runs import Run
from anima_exp.compare.settings import comparable, written
from anima_exp.page.section import Section
from anima_exp.page.table import Column, Line, Value, table
from anima_exp.page.words import count, escaped


def section(comparison: Comparison) -> Section:
    """Return the section of the done runs; there is at least one."""
    runs = comparison.runs.done()
    fixed = table(
        "Settings that all runs share",
        [Column("Setting"), Column("Value", "value")],
        [Line([Value(key), Value(value)]) for key, value in _shared(runs)],
    )
    code = "".join(f"<p>{escaped(sentence)}</p>" for sentence in _code(runs))
    body = f"{code}<details><summary>Settings that all runs share</summary>\n{fixed}</details>"
    return Section("setup", "Setup", "Setup", "", body)


def _shared(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Each setting that every run has at one value, in the order of the config."""
    for key, value in runs[0].settings.items():
        values = {comparable(run.settings.get(key, _ABSENT)) for run in runs}
        if len(values) == 1:
            yield key, written(value)


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
