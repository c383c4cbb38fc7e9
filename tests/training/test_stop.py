"""A request to stop: one stops after a step, a second signal at once, none is lost."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from anima_exp.distributed.world import SINGLE_PROCESS
from anima_exp.events import Stopping, listening
from anima_exp.system import signals
from anima_exp.system.signals import ON_REQUEST, SCHEDULER_SIGNALS, StopRequest, stop_on_signals
from anima_exp.training.stop import StopAfterStep


@dataclass(frozen=True)
class Meanwhile:
    """Two processes, of which this one gets a signal while they tell each other."""

    is_main: bool = True

    def all_gather(self, value):
        os.kill(os.getpid(), signal.SIGTERM)
        return [value, 0]


@pytest.fixture
def terminated():
    """What SIGTERM does outside of training: it is noted here."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("terminated"))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_a_signal_stops_after_the_step():
    with stop_on_signals() as request, StopAfterStep(SINGLE_PROCESS, request) as stop:
        assert not stop.wanted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wanted()
    assert stop.received == signal.SIGTERM


def test_a_signal_that_comes_while_processes_talk_counts_after_the_next_step():
    with stop_on_signals() as request, StopAfterStep(Meanwhile(), request) as stop:
        assert not stop.wanted()  # the other does not know of it
        assert stop.wanted()
    assert stop.received == signal.SIGTERM


def test_a_signal_during_the_last_checkpoint_is_agreed_on_at_the_end():
    with stop_on_signals() as request, StopAfterStep(SINGLE_PROCESS, request) as stop:
        stop.wanted()
        os.kill(os.getpid(), signal.SIGTERM)
        stop.wanted()
    assert stop.received == signal.SIGTERM


def test_what_comes_after_that_is_for_who_listened_before(terminated):
    with stop_on_signals() as request, StopAfterStep(SINGLE_PROCESS, request):
        os.kill(os.getpid(), signal.SIGTERM)
        assert terminated == []
    assert terminated == ["terminated"]


def test_before_and_after_training_a_signal_does_what_it_did_before(terminated):
    with stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        with StopAfterStep(SINGLE_PROCESS, request):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (terminated, request.number) == (["terminated"] * 2, 0)


@pytest.mark.skipif(not SCHEDULER_SIGNALS, reason="this system has no USR1")
@pytest.mark.parametrize("passes_on", [True, False])
def test_a_signal_that_nothing_handled_ends_the_process_unless_it_is_for_others(passes_on):
    killed = []
    number = SCHEDULER_SIGNALS[0]
    with stop_on_signals() as request, request.watch(killed.append, passes_on=passes_on):
        if passes_on:
            os.kill(os.getpid(), number)
            assert (request.number, killed) == (number, [number])
            return
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), number)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number


def test_a_second_signal_ends_at_once_unless_it_is_the_same_wish_passed_on(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    with (
        pytest.raises(SystemExit) as ended,
        stop_on_signals() as request,
        StopAfterStep(SINGLE_PROCESS, request),
    ):
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
        with stop_on_signals() as request, StopAfterStep(SINGLE_PROCESS, request) as stop:
            return stop.wanted(), signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor() as threads:
        assert threads.submit(work).result() == (False, before)


def test_a_request_of_another_thread_stops_after_the_step_and_is_said_by_the_run_s_own():
    request, said = StopRequest(), []

    def listen(event):
        said.append((event, threading.get_ident()))

    with listening(listen), StopAfterStep(SINGLE_PROCESS, request) as stop:
        other = threading.Thread(target=request.request)
        other.start()
        other.join()
        assert said == []
        assert stop.wanted()
        assert stop.wanted()
    assert said == [(Stopping("Stop requested"), threading.get_ident())]
    assert stop.received == ON_REQUEST
