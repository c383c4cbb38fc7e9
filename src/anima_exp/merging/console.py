"""Show a merge in the terminal: its progress, and the table of its verification."""

from rich import progress
from rich.text import Text

from anima_exp.config import MergeConfig
from anima_exp.display import tables
from anima_exp.display.console import console, file_size, say
from anima_exp.display.terminal_view import TerminalView
from anima_exp.events import Event, Working
from anima_exp.merging import verdict
from anima_exp.merging.verification import VerificationResult

_SECONDS = 1e9  # bytes from which progress is printed in a log


class MergeView(TerminalView):
    """A terminal view that also shows the events of a merge."""

    def __init__(self) -> None:
        super().__init__()
        self._writing: Writing | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, verdict.Verified):
            show_verification(event.config, event.result, event.dtype)
        elif isinstance(event, Working) and event.kind == "merging":
            self._write(event)
        else:
            super().__call__(event)

    def _write(self, event: Working) -> None:
        if self._writing is None:
            self._writing = Writing(event.total or 0).__enter__()
        self._writing.more(event.count)
        if event.ended:
            self._writing.__exit__()
            self._writing = None


class Writing:
    """Show the bytes written: a bar in a terminal, a line per tenth in a log."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._printed = max(total, 1), 0, 0
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
        elif (tenth := 10 * self._done // self._total) > self._printed and self._total > _SECONDS:
            self._printed = tenth
            say(f"merged   {file_size(self._done)} of {file_size(self._total)}")

    def __exit__(self, *_: object) -> None:
        if console.is_terminal:
            self._bar.stop()


def show_verification(config: MergeConfig, result: VerificationResult, dtype: str) -> None:
    say("")
    columns = verdict.columns(config, result, dtype)
    console.print(tables.table(columns, bold=[verdict.MERGED_ROW]))
    for sentence in verdict.sentences(config, result):
        say(sentence)
    if warning := verdict.warning(config, result):
        heading = ("warning", "bold yellow")
        console.print(Text.assemble("\n", heading, f"  {warning}"), soft_wrap=True)
