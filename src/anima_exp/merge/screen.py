"""What a merge says in the terminal: its plan, its progress, and the table of its proof."""

from pathlib import Path
from types import TracebackType

from rich import progress
from rich.markup import escape
from rich.table import Table

from anima_exp.config import MergeConfig, Onto, Quantization
from anima_exp.merge import verdict
from anima_exp.merge.plan import Plan, short, store_in
from anima_exp.merge.proof import Measured
from anima_exp.merge.prove import Proved
from anima_exp.results import screen
from anima_exp.results.screen import console, say

_ONTO = {
    Onto.base: "its own weights",
    Onto.dequantized: "the weights it was trained on: in 4 bits, and back",
}


def show_plan(merging: Plan, name: str, out: Path) -> None:
    config = merging.config
    dtype = short(store_in(config, merging.base.dtype))
    files = len(merging.shards)
    screen.show_plan(
        {
            "adapter": f"{name}, {len(merging.adapter.updates)} layers",
            "onto": f"{config.model.source}, {_ONTO[config.onto]}",
            "out": f"{out}, {size(merging.bytes)} in {dtype}, "
            f"{files} {'file' if files == 1 else 'files'}",
        }
    )


_SECONDS = 1e9  # bytes; what takes longer to write is told in a log


def size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


class Writing:
    """Bytes written: a bar in a terminal, a line for each tenth in a log."""

    def __init__(self, merging: Plan) -> None:
        self._total, self._done, self._told = max(merging.bytes, 1), 0, 0
        self._bar = progress.Progress(
            progress.TextColumn("merging"),
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
            say(f"merged   {size(self._done)} of {size(self._total)}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if console.is_terminal:
            self._bar.stop()


def say_reference(labels: int, trained: Measured) -> None:
    say(
        f"proof    {labels:,} held-out response tokens; as trained their loss is {trained.loss:.4f}"
    )


def say_unproved() -> None:
    say("proof    none (prove=false): nobody has measured that this is the trained model")


def show_proof(config: MergeConfig, found: Proved, dtype: str) -> None:
    kind = config.quant.type.value
    base = "base" if config.quant.type is Quantization.none else f"base in {kind}"
    rows = {
        base: found.base,
        f"{base} + adapter, as trained": found.trained,
        f"merged, {dtype}": found.merged,
    }
    if found.again:
        rows[f"merged, {kind} again"] = found.again
    table = Table(
        "", "held-out loss", "divergence", "same first choice",
        box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for label, one in rows.items():
        cells = [f"{one.loss:.4f}", f"{one.divergence:.5f}", f"{100 * one.agreement:.1f} %"]
        if one is found.trained:
            cells[1:] = ["", ""]
        bold = one is found.merged
        table.add_row(escape(label), *cells, style="bold" if bold else "")
    say("")
    console.print(table)
    say("divergence: from the model as trained, in nats per token")
    if (share := verdict.kept(found, found.merged)) is not None:
        told = f"of what was learnt (the fall in loss) the merged model keeps {100 * share:.0f} %"
        if found.again and (rest := verdict.kept(found, found.again)) is not None:
            told += f", in {kind} again {100 * rest:.0f} %"
        say(told)
    if found.again and verdict.warns(config, found, found.again):
        console.print(
            f"\n[bold yellow]warning[/]  Quantised to {kind} again this folder is "
            f"{found.again.divergence:.3f} nats per token away from the trained model. "
            f"For use in {kind} keep the base with its adapter.",
            soft_wrap=True,
        )


def show_end(merging: Plan, out: Path) -> None:
    say(f"\nmerged   {out}")
    say(
        f"next     python -m anima_exp.generate model=local model.source={out} quant=none "
        f"prompt_template={merging.config.data.prompt_template}"
    )
