"""Print the events of a run in a terminal or a log.

Each command installs a view for its process:

    with listening(TerminalView()):
        run(config)

rich is imported with the first event that needs it, so that other commands start quickly.
"""

from typing import Any

from anima_exp import events
from anima_exp.events import Event, Working
from anima_exp.system.terminal import note, print_stderr

_LARGE = 20_000  # examples from which the progress of tokenizing is shown


class TerminalView:
    """Print plan, progress, scores and summary to stdout, and notes to stderr."""

    def __init__(self) -> None:
        self._progress: Any = None  # results.screen.Progress, from Began to Ended
        self._work: dict[str, Any] = {}  # bars by what they show

    def __call__(self, event: Event) -> None:
        match event:
            case events.Warned(text):
                print_stderr(text)
            case events.Noted(text):
                note(text)
            case events.Stopping(by):
                note("")  # below the letters of Ctrl-C
                note(f"{by}: saving a checkpoint after this step. Press Ctrl-C again to quit now.")
            case events.Working():
                self._working(event)
            case events.Began() | events.Logged() | events.Evaluated() | events.Ended():
                self._training(event)
            case _:
                _print(event)

    def _training(self, event: Event) -> None:
        from anima_exp.display import console as screen

        if isinstance(event, events.Began):
            self._progress = screen.Progress(event.steps, first=event.first)
        if self._progress is None:
            return
        match event:
            case events.Logged(row):
                self._progress.line(row)
            case events.Evaluated(step, scores, _, metrics):
                self._progress.scores(step, scores, metrics)
            case events.Ended():
                self._progress.close()

    def _working(self, event: Working) -> None:
        """Show a bar on a terminal's stderr; in a log a line for long work, otherwise nothing."""
        if event.kind == "merging":  # merging/console.py shows it
            return
        bar = self._work.get(event.text)
        if bar is None and not event.ended:
            bar = self._work[event.text] = _bar(event)
        if bar is None:
            return
        task = bar.task_ids[0]
        bar.advance(task, event.count)
        if event.kind == "tokenizing":
            bar.update(task, visible=bar.tasks[0].completed > _LARGE)
        if event.ended:
            bar.stop()
            del self._work[event.text]


def _bar(event: Working) -> Any:
    import sys

    if not sys.stderr.isatty():
        if event.kind == "hashing" and event.count == 0:
            note(event.text)
        return None
    from rich import progress

    from anima_exp.system.terminal import console

    columns: dict[str, Any] = {
        "hashing": (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TimeRemainingColumn(),
        ),
        "tokenizing": (
            progress.SpinnerColumn(),
            progress.TextColumn(
                "tokenizing {task.description}: {task.completed:,.0f} examples", markup=False
            ),
            progress.TimeElapsedColumn(),
        ),
    }
    bar = progress.Progress(*columns[event.kind], console=console(stderr=True), transient=True)
    bar.add_task(event.text, total=event.total, visible=event.kind == "hashing")
    bar.start()
    return bar


def _print(event: Event) -> None:
    from anima_exp.display import console as screen

    match event:
        case events.Said(text):
            screen.say(text)
        case events.Plan(lines):
            screen.show_plan(lines)
        case events.Answering(done, total, speed, left):
            screen.say(
                f"{done}/{total} answers  {speed:,.0f} tokens/s  {screen.duration(left)} left"
            )
        case events.Measured(scores, accuracies, answers, subjects, metrics):
            for benchmark, rows in accuracies.items():
                screen.show_accuracies(benchmark, rows, subjects=subjects)
            screen.show_scores(None, scores, metrics)
            screen.show_answers([], [*answers], at_most=len(answers))
        case events.AlreadyDone(record, folder, differs):
            screen.say(f"Already done, nothing to do: {folder}")
            if differs:
                screen.say(f"code differs from the run's: {differs}; run_dir=NAME trains anew")
            about = (record.metrics, record.intervals)
            screen.show_scores(record.scores_before, record.scores, *about)
        case events.Done(record, trained, before, after):
            screen.show_summary(record, trained, before=[*before], after=[*after])
