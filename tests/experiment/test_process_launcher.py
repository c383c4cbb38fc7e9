"""How the processes of a run ended -> what is said of the run."""

import signal
import subprocess
from multiprocessing import Pipe

import pytest

from anima_exp.errors import (
    AnimaError,
    InUseError,
    PeerLostError,
    RunEnded,
    RunInterrupted,
    RunPaused,
)
from anima_exp.experiment import process_launcher
from anima_exp.experiment.process_launcher import (
    IN_USE,
    LOST,
    PAUSED,
    _end,
    _outcome,
    _Rank,
    _wait,
)
from anima_exp.sweeping.cell import Outcome
from anima_exp.system.child_process import Exit
from anima_exp.system.signals import StopRequest

KILLED, STOPPED = -signal.SIGKILL, 128 + signal.SIGTERM


@pytest.fixture
def ended(compose, tmp_path):
    def _ended(*statuses, failure=None, stop_number=0):
        config = compose(f"run_dir={tmp_path}")
        if failure:
            (tmp_path / "failure.txt").write_text(failure)
        with pytest.raises((AnimaError, RunEnded)) as found:
            _outcome(config, statuses, stop_number=stop_number)
        return found.value

    return _ended


@pytest.mark.parametrize(
    ("statuses", "kind", "reported"),
    [
        ((PAUSED, PAUSED), RunPaused, True),
        ((IN_USE, LOST), InUseError, True),  # it is the first that asks for the folder
        ((STOPPED, STOPPED), RunInterrupted, True),
        ((STOPPED, LOST), RunInterrupted, True),
        ((LOST, KILLED), PeerLostError, False),
        ((LOST, STOPPED), PeerLostError, False),
        ((LOST, LOST), PeerLostError, False),
        ((1, LOST), AnimaError, True),
        ((LOST, 1), AnimaError, True),
        ((LOST, 3), AnimaError, False),  # of a library, which nobody has told
    ],
)
def test_each_end_is_told_once(ended, statuses, kind, reported):
    error = ended(*statuses)
    assert type(error) is kind
    assert error.reported == reported


def test_the_lost_process_is_named_with_what_ended_it(ended):
    assert "Process 1 of 2 was killed by SIGKILL" in str(ended(LOST, KILLED))
    assert "Process 0 of 3 was killed by SIGKILL" in str(ended(KILLED, STOPPED, STOPPED))
    assert "Process 1 of 2 was killed by SIGTERM" in str(ended(LOST, STOPPED))
    assert "lost contact with one another" in str(ended(LOST, LOST))


def test_a_failure_that_was_written_down_is_the_reason(ended):
    assert str(ended(LOST, 1, failure="TrainingError: diverged")) == "TrainingError: diverged"


def test_whatever_became_of_processes_that_were_told_to_stop_it_is_a_stop(ended):
    error = ended(-signal.SIGINT, LOST, stop_number=signal.SIGINT)
    assert (type(error), error.exit_status, error.reported) == (RunInterrupted, 130, False)


def test_a_stop_keeps_the_status_of_its_signal(ended):
    assert ended(128 + signal.SIGUSR1, LOST).exit_status == 128 + signal.SIGUSR1


def test_who_waits_for_one_that_is_gone_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(process_launcher, "_GRACE_SECONDS", 0.2)
    commands = ("exec sleep 600", f"exit {STOPPED}")
    started = [
        _Rank(subprocess.Popen(["sh", "-c", command]), Pipe(duplex=False)[0])
        for command in commands
    ]
    assert _wait(started, StopRequest()) == [LOST, STOPPED]
    _end(started)
    assert started[0].process.returncode == KILLED


def test_an_exit_status_has_one_meaning_for_every_parent():
    assert {PAUSED, IN_USE, LOST} <= set(Exit)
    assert (Outcome.paused.value, Outcome.in_use.value) == (PAUSED, IN_USE)
    assert LOST not in [outcome.value for outcome in Outcome]
