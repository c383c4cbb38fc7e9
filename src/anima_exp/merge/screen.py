"""What a merge says in the terminal: its plan, its progress, and the table of its proof."""

from pathlib import Path
from typing import Any

from rich import progress
from rich.text import Text

from anima_exp.command_line import pasted
from anima_exp.config import MergeConfig
from anima_exp.finished import run_of
from anima_exp.merge import findings
from anima_exp.merge.plan import Plan, short, store_in
from anima_exp.merge.proof import Measured
from anima_exp.merge.prove import Proved
from anima_exp.results import screen
from anima_exp.results.screen import console, file_size, say
from anima_exp.tables import terminal


def show_plan(merging: Plan, name: str, out: Path) -> None:
    config = merging.config
    dtype = short(store_in(config, merging.base.dtype))
    files = len(merging.shards)
    screen.show_plan(
        {
            "adapter": f"{name}, {len(merging.adapter.updates)} layers",
            "onto": f"{config.model.source}, {findings.ONTO[config.onto]}",
            "out": f"{out}, {file_size(merging.bytes)} in {dtype}, "
            f"{files} {'file' if files == 1 else 'files'}",
        }
    )


_SECONDS = 1e9  # bytes; what takes longer to write is told in a log


class Writing:
    """Bytes written: a bar in a terminal, a line for each tenth in a log."""

    def __init__(self, merging: Plan) -> None:
        self._total, self._done, self._told = max(merging.bytes, 1), 0, 0
        self._bar = progress.Progress(
            progress.TextColumn("merging", markup=False),
            progress.BarColumn(24),
            progress.DownloadColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> "Writing":
        if console.is_terminal:
            self._bar.start()
        return self

    def more(self, count: int) -> None:
        self._done += count
        if console.is_terminal:
            self._bar.advance(self._task, count)
        elif (tenth := 10 * self._done // self._total) > self._told and self._total > _SECONDS:
            self._told = tenth
            say(f"merged   {file_size(self._done)} of {file_size(self._total)}")

    def __exit__(self, *_: Any) -> None:
        if console.is_terminal:
            self._bar.stop()


def say_reference(labels: int, trained: Measured) -> None:
    say(
        f"proof    {labels:,} held-out response tokens; as trained their loss is {trained.loss:.4f}"
    )


def say_unproved() -> None:
    say("proof    none (prove=false): nobody has measured that this is the trained model")


def show_proof(config: MergeConfig, found: Proved, dtype: str) -> None:
    say("")
    columns = findings.columns(config, found, dtype)
    console.print(terminal.table(columns, bold=[findings.MERGED_ROW]))
    for sentence in findings.sentences(config, found):
        say(sentence)
    if warning := findings.warning(config, found):
        heading = ("warning", "bold yellow")
        console.print(Text.assemble("\n", heading, f"  {warning}"), soft_wrap=True)


def show_end(merging: Plan, out: Path) -> None:
    config = merging.config
    ours = config.run or (config.adapter and run_of(config.adapter))
    template = config.data.prompt_template if ours else "NAME"  # of another's, nobody has said
    say(f"\nmerged   {out}")
    ask = pasted(
        "generate",
        "model=local",
        ("model.source", out),
        "quant=none",
        ("prompt_template", template),
    )
    say(f"next     {ask}")
    say(f"         {pasted('publish', ('folder', out), 'push=user/name')}")
