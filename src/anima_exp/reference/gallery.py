"""Write the gallery: every experiment and sweep that is shipped, and what each would cost.

The costs are those of `anima-exp plan`. Nothing is downloaded: conf/model holds the shapes of the
base models and conf/data the lengths of the rows. All cells of all sweeps take about a minute.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from anima_exp.cli.compose import register_schema
from anima_exp.config import RunConfig
from anima_exp.config.former_names import todays
from anima_exp.display.units import hours
from anima_exp.libraries.hydra_internals import overrides_parser
from anima_exp.planner.cost import Cost, cost
from anima_exp.planner.gpus import GPU_TYPES
from anima_exp.reference import markdown
from anima_exp.results.identity import flatten
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point, expand
from anima_exp.sweeping.grid import compose_grid
from anima_exp.system.paths import shipped

# The GPUs of the tables: one for each size of memory that people have.
GPUS = ("RTX 4090", "L40S", "A100")
_PLACES = [next(n for n, gpu in enumerate(GPU_TYPES) if gpu.name == name) for name in GPUS]
# The headings of the folders of conf/experiment.
_HEADINGS = {
    "": "Published models",
    "historical": "With the settings of the released scripts",
    "table9": "Table 9 of the QLoRA paper",
}
_SENTENCE = re.compile(r'(?<=[.?]) +(?=[A-Z"])')
_JOBS = re.compile(r" +(\d+) jobs?\.$")


@dataclass(frozen=True)
class Entry:
    """One file of conf/experiment or sweeps/."""

    name: str  # table9/7b_all, lora_rank
    file: Path
    lines: list[str]  # of the comment that it begins with
    jobs: int  # 1 for an experiment
    published: dict[str, Any] | None  # the figures of a paper, if the file quotes any

    @property
    def question(self) -> str:
        """The first line of the file without its number of jobs."""
        return _JOBS.sub("", self.lines[0])

    @property
    def notes(self) -> str:
        """The rest of the comment. Commands, which are indented, are left out."""
        return " ".join(line for line in self.lines[1:] if not line.startswith("  "))

    @property
    def sentences(self) -> tuple[str, str]:
        """The first sentence of the comment, and the rest, for a file that has no question."""
        text = " ".join(line for line in self.lines if not line.startswith("  "))
        first, *rest = _SENTENCE.split(text, maxsplit=1)
        return first, " ".join(rest)


class Gallery:
    """All entries, and the planner's answer for each."""

    def __init__(self, cache: Path) -> None:
        """Prepare an empty gallery. Nothing is composed yet.

        Args:
            cache: an empty folder, so that lengths of rows that an earlier run has measured on
                this machine do not enter the page.
        """
        self._cache = cache
        register_schema()
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            master = loader.load_configuration("train", [], RunMode.MULTIRUN)
        self._parser, self._composer = overrides_parser(loader), Composer(loader, master)

    @cached_property
    def experiments(self) -> list[Entry]:
        """Every file of conf/experiment."""
        folder = shipped("conf") / "experiment"
        files = sorted(folder.rglob("*.yaml"))
        return [_entry(file.relative_to(folder).with_suffix("").as_posix(), file) for file in files]

    @cached_property
    def sweeps(self) -> list[Entry]:
        """Every file of sweeps/."""
        return [_entry(file.stem, file) for file in sorted(shipped("sweeps").glob("*.yaml"))]

    def configs(self, entry: Entry) -> list[RunConfig]:
        """Return the checked config of every job."""
        if entry in self.experiments:
            points = [Point((f"experiment={entry.name}",))]
        else:
            sweeper: Any = OmegaConf.to_container(OmegaConf.load(entry.file).hydra.sweeper)
            axes = {key: sweeper.get(key) for key in ("params", "points", "multipliers")}
            points = expand(self._parser, [], **axes)
        grid = compose_grid(points, self._composer, group=entry.name, check_inputs=lambda _: None)
        return [replace(cell.config, cache_dir=str(self._cache)) for cell in grid.cells]

    def costs(self, entry: Entry) -> list[Cost]:
        """Return what every job would cost."""
        return [cost(config) for config in self.configs(entry)]

    def published_of(self, experiment: Entry) -> list[tuple[str, str]]:
        """Return the published values for a run's model and data, each with its source.

        They are quoted in the sweeps that consist of experiments, as sweeps/table9.yaml.
        """
        settings = flatten(self.configs(experiment)[0])
        return [
            (str(row["value"]), f"{sweep.published['metric']} ({sweep.published['source']})")
            for sweep in self.sweeps
            if sweep.published and "{experiment:" in sweep.file.read_text(encoding="utf-8")
            for row in _rows(sweep.published)
            if all(str(settings[key]) == str(row[key]) for key in row if key != "value")
        ]


def _entry(name: str, file: Path) -> Entry:
    text = file.read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    jobs = _JOBS.search(lines[0])
    published = OmegaConf.select(OmegaConf.load(file), "hydra.sweeper.reference_results")
    quoted: Any = OmegaConf.to_container(published) if published else None
    return Entry(name, file, lines, int(jobs[1]) if jobs else 1, quoted)


def _rows(published: dict[str, Any]) -> list[dict[str, Any]]:
    return [todays(row) for row in published["rows"]]


def gallery_page(gallery: Gallery) -> str:
    """Return the page in Markdown."""
    return markdown.page("Gallery", _lines(gallery), target="gallery")


def _lines(gallery: Gallery) -> Iterator[str]:
    gpus = ", ".join(_gpu(place) for place in _PLACES)
    yield (
        "This page lists the experiments of `conf/experiment` and the sweeps of `sweeps/`. Each "
        "one reproduces a published run or answers a question. The first line of its file says "
        "which."
    )
    yield ""
    yield (
        f"The hours are predictions of `anima-exp plan` for one GPU: {gpus}. They count training "
        "alone, without evaluations. *Paged* means that optimizer states move to CPU memory. "
        "*At most* means that the rows are unknown until a run reads the data: they are assumed "
        "as many and as long as the settings allow. "
        "**The hours are estimates and have not been measured on a GPU.** "
        "If a run does not fit on one GPU, [several GPUs](guides/multi-gpu.md) can share it. "
        "`make gallery` writes this page."
    )
    yield ""
    yield "## Experiments"
    yield ""
    yield (
        "An experiment is one run. The same command resumes it after an interruption. "
        "`anima-exp plan experiment=NAME` shows the whole plan of a run."
    )
    for heading, entries in _groups(gallery.experiments).items():
        yield ""
        yield f"### {heading}"
        yield ""
        yield from _experiments(gallery, entries)
    yield ""
    yield "## Sweeps"
    yield ""
    yield (
        "A sweep is a grid of runs. The same command again trains only the missing ones. Add "
        "`dry_run=true` to check every run first. The hours are the sum over all runs that fit."
    )
    for entry in gallery.sweeps:
        yield from _sweep(gallery, entry)


def _groups(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Sort the experiments by their folder."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        folder = entry.name.rpartition("/")[0]
        groups.setdefault(_HEADINGS.get(folder, folder), []).append(entry)
    return groups


def _experiments(gallery: Gallery, entries: Sequence[Entry]) -> Iterator[str]:
    rows, sources = [], dict[str, None]()
    for entry in entries:
        (planned,) = gallery.costs(entry)
        published = gallery.published_of(entry)
        sources |= dict.fromkeys(source for _, source in published)
        rows.append(
            [
                f"{entry.sentences[0]}<br>`anima-exp train experiment={entry.name}`",
                *(_on_gpu(planned, place) for place in _PLACES),
                ", ".join(value for value, _ in published) or "-",
            ]
        )
    yield from markdown.table(["run", *map(_heading, _PLACES), "published"], rows, right=4)
    if sources:
        yield ""
        yield f"Published: {'; '.join(sources)}."
    notes = [f"- `{entry.name}`: {entry.sentences[1]}" for entry in entries if entry.sentences[1]]
    if notes:
        yield ""
        yield from markdown.details("Notes of the files", notes)


def _gpu(place: int) -> str:
    return f"{GPU_TYPES[place].name} ({GPU_TYPES[place].memory_gb} GB)"


def _heading(place: int) -> str:
    return _gpu(place).replace(" (", "<br>").rstrip(")")


def _on_gpu(planned: Cost, place: int) -> str:
    one = planned.on_gpus[place]
    if not one.execution.fits:
        return "does not fit"
    paged = ", paged" if one.execution.paged else ""
    return f"{_at_most([planned])}{hours(planned.hours_on(one))}{paged}"


def _at_most(costs: Sequence[Cost]) -> str:
    return "at most " if any(one.lengths.upper_bound for one in costs) else ""


def _sweep(gallery: Gallery, entry: Entry) -> Iterator[str]:
    costs = gallery.costs(entry)
    yield ""
    yield f"### `sweep={entry.name}`"
    yield ""
    yield f"{entry.question} {len(costs)} jobs."
    if entry.notes:
        yield ""
        yield entry.notes
    yield ""
    yield from markdown.block(f"anima-exp train -m sweep={entry.name}")
    yield ""
    yield from markdown.table(
        ["GPU", "runs that fit", "training, all of these"],
        [_sum_on_gpu(costs, place) for place in _PLACES],
        right=2,
    )
    if entry.published:
        yield ""
        yield from _published(entry.published)


def _sum_on_gpu(costs: Sequence[Cost], place: int) -> list[str]:
    fitting = [one for one in costs if one.on_gpus[place].execution.fits]
    total = [one.hours_on(one.on_gpus[place]) for one in fitting]
    name = _gpu(place)
    if any(one is None for one in total):
        return [name, f"{len(fitting)} of {len(costs)}", "unknown until the rows are counted"]
    summed = "-"
    if fitting:
        summed = _at_most(fitting) + hours(sum(one or 0.0 for one in total))
    return [name, f"{len(fitting)} of {len(costs)}", summed]


def _published(published: dict[str, Any]) -> list[str]:
    rows = _rows(published)
    confirmed = "" if published.get("confirmed") else " (unconfirmed)"
    keys = [key for key in rows[0] if key != "value"]
    lines = [f"{published['metric'][:1].upper()}{published['metric'][1:]}. {published['note']}", ""]
    lines += markdown.table(
        [*(f"`{key}`" for key in keys), "published"],
        [[*(str(row.get(key, "")) for key in keys), str(row["value"])] for row in rows],
        right=1,
    )
    return markdown.details(f"Published results{confirmed}: {published['source']}", lines)
