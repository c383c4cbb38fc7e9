"""How far a cell is, read from the file it writes; and what the board says of it."""

import io

import pytest
from rich.console import Console

from anima_exp.metrics.metric import metric
from anima_exp.sweeping import live_table as board_module
from anima_exp.sweeping.cell import Cell, Job, Outcome
from anima_exp.sweeping.gpu_leases import Allocation, Slot
from anima_exp.sweeping.live_table import Board, Progress, Status
from anima_exp.system.json_lines import JsonLinesLog


@pytest.fixture
def cell(compose, tmp_path):
    config = compose("trainer.max_steps=20")
    return Cell(3, ("seed=1",), "seed=1 [red]\x1b[2J", config, "tiny-1", tmp_path)


def lines(cell):
    return JsonLinesLog(cell.folder / "metrics.jsonl")


def test_it_reads_only_what_is_new_and_never_half_a_line(cell):
    progress = Progress(cell)
    lines(cell).append({"step": 5, "loss": 2.0})
    with (cell.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert [row["step"] for row in progress.read()] == [5]
    with (cell.folder / "metrics.jsonl").open("a") as file:
        file.write('ss": 1.5}\n')
    assert [row["step"] for row in progress.read()] == [6]
    assert (progress.step, progress.loss, progress.steps) == (6, 1.5, 20)


def test_time_left_counts_from_what_this_start_has_done(cell):
    lines(cell).append({"step": 10, "loss": 2.0})
    progress = Progress(cell)
    lines(cell).keep(lambda row: True)  # a resumed run writes its file anew
    progress.read()
    assert progress.seconds_left() is None, "ten steps of an earlier start say nothing"
    progress._first = (10, progress._first[1] - 5.0)
    lines(cell).append({"step": 15, "loss": 1.0})
    progress.read()
    assert progress.seconds_left() == pytest.approx(5.0, abs=0.5)


def test_steps_of_a_run_of_epochs_show_with_its_first_row(compose, tmp_path):
    config = compose("trainer.num_epochs=2")
    progress = Progress(Cell(0, (), "x", config, "x", tmp_path))
    assert progress.steps is None
    JsonLinesLog(tmp_path / "metrics.jsonl").append({"step": 10, "loss": 1.0, "epoch": 0.25})
    progress.read()
    assert progress.steps == 80


def test_a_short_last_batch_is_a_step(compose, tmp_path):
    progress = Progress(Cell(0, (), "x", compose("trainer.num_epochs=2"), "x", tmp_path))
    JsonLinesLog(tmp_path / "metrics.jsonl").append({"step": 10, "loss": 1.0, "epoch": 160 / 500})
    progress.read()
    assert progress.steps == 63


@pytest.fixture
def told(monkeypatch):
    """What is printed: to a log, or to a terminal of 80 columns and 12 lines."""

    def _told(*, terminal):
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=80, height=12)
        monkeypatch.setattr(board_module, "console", console)
        return file

    return _told


def test_a_log_gets_a_line_for_each_thing_that_happens(cell, told):
    file = told(terminal=False)
    with Board([cell], metric=metric("heldout_loss")) as board:
        board.started(Job(cell), Allocation((Slot("cpu0", None, 1),)))
        lines(cell).append({"step": 20, "heldout_loss": 0.5, "eval_seconds": 0})
        progress = Progress(cell)
        progress._read = 0
        progress.read()
        board.show({cell.name: progress})
        board.ended(Job(cell), Outcome.done, progress)
    assert file.getvalue().splitlines() == [
        "#3 seed=1 [red]\\x1b[2J: started on cpu",
        "#3 seed=1 [red]\\x1b[2J: done, heldout_loss 0.5000",
    ]


def test_a_terminal_too_short_for_all_shows_running_cells_first(compose, tmp_path, told):
    file = told(terminal=True)
    config = compose("trainer.max_steps=20")
    cells = [Cell(i, (), f"seed={i}", config, f"c{i}", tmp_path / f"c{i}") for i in range(40)]
    with Board(cells, metric=metric("heldout_loss")) as board:
        board.set(cells[0], Status.done)
        board.started(Job(cells[37]), Allocation((Slot("GPU-aaaa.0", "GPU-aaaa", 1),)))
        board.show({cells[37].name: Progress(cells[37])})
        drawn = file.getvalue()
    assert "seed=37" in drawn
    assert "running GPU-aaaa" in drawn
    assert "0/20" in drawn
    assert "1 running, 1 done, 38 waiting" in drawn
    assert "34 of them not shown" in drawn
