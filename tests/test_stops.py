"""A stop, a pause and a lost process are no mistakes: each keeps its line and its exit status."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anima_exp.cli import compose
from anima_exp.cli.program import status
from anima_exp.errors import (
    AnimaError,
    ConfigError,
    InUseError,
    PeerLostError,
    RunEnded,
    RunInterrupted,
    RunPaused,
)
from anima_exp.experiment import process_entry, process_launcher, run
from anima_exp.sweeping.cell import Outcome
from anima_exp.sweeping.job_process import _outcome

ENDS = [RunPaused("paused"), RunInterrupted("stopped", exit_status=143), PeerLostError("lost")]


@pytest.fixture(params=ENDS, ids=[type(end).__name__ for end in ENDS])
def end(request):
    return request.param


def test_a_notebook_that_catches_mistakes_does_not_swallow_a_stop(end):
    assert isinstance(end, RunEnded)
    assert not isinstance(end, AnimaError)


def raises(error):
    def work(*_, **__):
        raise error

    return work


def test_a_command_says_how_it_ended_in_one_line(end, capsys):
    assert status(raises(end)) == (143 if isinstance(end, RunInterrupted) else 1)
    assert capsys.readouterr().err == f"anima_exp: {end}\n"


@pytest.fixture
def command(monkeypatch):
    """command(work, *arguments) -> the exit status of the command, of which `work` is the work."""
    before = signal.getsignal(signal.SIGTERM)

    def _command(work, *arguments):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        try:
            compose.run_command(work)
        except SystemExit as ended:
            return ended.code
        return 0

    yield _command
    signal.signal(signal.SIGTERM, before)


def test_a_command_with_a_config_says_the_same(end, command, capsys):
    assert command(raises(end)) == (143 if isinstance(end, RunInterrupted) else 1)
    assert capsys.readouterr().err == f"anima_exp: {end}\n"


def test_an_error_that_another_process_has_printed_is_not_printed_again(command, capsys):
    assert command(raises(PeerLostError("lost", reported=True))) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "mistake", [[], ["lora.rnak=8"], ["lora.rank=0"], ["lora.rank=eight"], ["modle=tiny"]]
)
def test_a_mistake_that_all_processes_make_is_said_by_the_first_of_them(
    command, monkeypatch, capsys, mistake
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    lines = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert command(lambda config: None, *mistake) == (1 if mistake else 0)
        lines.append(capsys.readouterr().err.count("anima_exp: "))
    assert lines == [len(mistake), 0]


def test_a_launcher_that_cannot_be_is_said_in_one_line(command, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "two")
    assert command(lambda config: None, "lora.rank=0") == 1
    assert capsys.readouterr().err.count("anima_exp: ") == 1


def test_the_error_of_a_library_is_not_written_to(command, monkeypatch):
    foreign = []
    monkeypatch.setattr(compose, "explain_error", lambda error: foreign.append(error) or "")
    assert command(lambda config: None, "lora.rnak=8") == 1
    assert [hasattr(error, "told") for error in foreign] == [False]


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (RunPaused("paused"), Outcome.paused, ""),
        (RunInterrupted("stopped", exit_status=143), Outcome.stopped, "anima_exp: stopped\n"),
        (PeerLostError("lost"), Outcome.failed, "anima_exp: lost\n"),
        (PeerLostError("lost", reported=True), Outcome.failed, ""),
        (InUseError("in use"), Outcome.in_use, ""),
        (ConfigError("wrong"), Outcome.failed, "anima_exp: wrong\n"),
    ],
)
def test_a_job_leaves_with_what_became_of_it(error, outcome, said, capsys):
    assert _outcome(raises(error), None, None) is outcome
    assert capsys.readouterr() == (said, "")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RunPaused("paused"), process_launcher.PAUSED, ""),
        (RunInterrupted("stopped", exit_status=143), 143, "anima_exp: stopped\n"),
        (PeerLostError("lost"), process_launcher.LOST, ""),
        (InUseError("in use"), process_launcher.IN_USE, "anima_exp: in use\n"),
        (ConfigError("wrong"), 1, "anima_exp: wrong\n"),
    ],
)
def test_one_of_several_processes_leaves_with_what_became_of_it(
    error, code, said, monkeypatch, shown, capsys
):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(process_entry, "end_with_parent", lambda _: None)
    monkeypatch.setattr(process_entry, "read", lambda _: None)
    monkeypatch.setattr(run, "run", raises(error))
    assert process_entry.work(Path("config.yaml"), None) == code
    assert capsys.readouterr().err == said


def test_a_run_goes_on_after_the_reader_of_its_output_has_left(tmp_path):
    command = [sys.executable, "-m", "anima_exp", "train", f"run_dir={tmp_path}/run", "evals=[]"]
    command += ["data.max_rows=16", "data.heldout_rows=8", "trainer.batch_size=2"]
    command += ["trainer.max_steps=3", "trainer.log_every=1", "tracking=none"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:  # anima-exp train ... 2>&1 | head -1
        process.stdout.readline()
        process.stdout.close()
    assert process.returncode == 0
    assert (tmp_path / "run/record.json").is_file()
    assert not (tmp_path / "run/failure.txt").exists()
