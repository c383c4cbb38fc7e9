"""Signals during training: one stops after a step, a second at once, none is lost."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from anima_exp.parallel.world import ALONE
from anima_exp.training import stop as module
from anima_exp.training.stop import StopOnSignal


@dataclass(frozen=True)
class Meanwhile:
    """Two processes, of which this one gets a signal while they tell each other."""

    leads: bool = True

    def of_each(self, value):
        os.kill(os.getpid(), signal.SIGTERM)
        return [value, 0]


def test_a_signal_stops_after_the_step():
    stop = StopOnSignal(ALONE)
    with stop:
        assert not stop.wanted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wanted()
    assert stop.received is signal.SIGTERM


def test_a_signal_that_comes_while_processes_talk_counts_after_the_next_step():
    stop = StopOnSignal(Meanwhile())
    with stop:
        assert not stop.wanted()  # the other does not know of it
        assert stop.wanted()
    assert stop.received is signal.SIGTERM


def test_a_signal_during_the_last_checkpoint_is_agreed_on_at_the_end():
    stop = StopOnSignal(ALONE)
    with stop:
        stop.wanted()
        os.kill(os.getpid(), signal.SIGTERM)
        stop.wanted()
    assert stop.received is signal.SIGTERM


def test_what_comes_after_that_is_for_who_listened_before(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("before"))
    try:
        with StopOnSignal(ALONE):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["before"]


def test_a_second_signal_ends_at_once_unless_it_is_the_same_wish_passed_on(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with pytest.raises(SystemExit) as ended, StopOnSignal(ALONE):
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 0.5
        os.kill(os.getpid(), signal.SIGTERM)  # as torchrun and Slurm do
        now[0] += 5
        os.kill(os.getpid(), signal.SIGTERM)
    assert now[0] == 105.5
    assert ended.value.code == 128 + signal.SIGTERM


def test_in_another_thread_no_handler_is_set():
    before = signal.getsignal(signal.SIGTERM)

    def work():
        with StopOnSignal(ALONE) as stop:
            return stop.wanted(), signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor() as threads:
        assert threads.submit(work).result() == (False, before)
