"""Events: who hears them, and what the processes of a run send to the one that started them."""

import os
import threading
from contextvars import copy_context
from multiprocessing import Pipe

import pytest

from anima_exp import events
from anima_exp.display.terminal_view import TerminalView
from anima_exp.events import Said, Warned, Working, emit, emitter, following, listening, working
from anima_exp.experiment.process_entry import ToParent


def test_without_a_listener_events_are_dropped(capfd):
    emit(Said("nobody hears this"))
    events.warn("nor this")
    assert capfd.readouterr() == ("", "")


def test_the_innermost_listener_hears_and_the_outer_one_afterwards():
    outer, inner = [], []
    with listening(outer.append):
        with listening(inner.append):
            emit(Said("inner"))
        with listening(None):  # changes nothing
            emit(Said("outer"))
    emit(Said("nobody"))
    assert (outer, inner) == ([Said("outer")], [Said("inner")])


def test_another_thread_is_heard_only_through_what_was_handed_to_it():
    heard = []
    with listening(heard.append):
        handed = emitter()
        for work in (
            lambda: emit(Said("of its own")),
            lambda: handed(Said("handed")),
            lambda: copy_context().run(emit, Said("an empty context")),
        ):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert heard == [Said("handed")]


def test_of_several_processes_one_speaks_and_the_others_say_what_is_true_of_them_alone():
    def emitted(leads):
        heard = []
        with listening(heard.append), following(leads):
            emit(Said("of the run"))
            events.say_anyway("of this process")
            emit(Warned("beware"))
        return heard

    assert emitted(leads=True) == [
        Said("of the run"), Said("of this process", own=True), Warned("beware"),
    ]  # fmt: skip
    assert emitted(leads=False) == [Warned("of this process"), Warned("beware")]


def test_work_that_fails_has_ended_too():
    heard = []
    with (
        pytest.raises(ZeroDivisionError),
        listening(heard.append),
        working("hashing", "a file", 10) as more,
    ):
        more(4)
        raise ZeroDivisionError
    assert heard == [
        Working("hashing", "a file", 10),
        Working("hashing", "a file", 10, 4),
        Working("hashing", "a file", 10, ended=True),
    ]


def test_the_terminal_ignores_what_it_does_not_know(capfd):
    class Another(events.Event):
        pass

    TerminalView()(Another())
    assert capfd.readouterr() == ("", "")


def test_an_event_that_comes_while_another_is_sent_is_sent_after_it():
    here, there = Pipe(duplex=False)
    send = ToParent(os.dup(there.fileno()))
    whole = send._pipe.send

    def interrupted(event):  # by a signal, whose handler emits
        if event == Said("first"):
            send(Said("second"))
        whole(event)

    send._pipe = type("Interrupted", (), {"send": staticmethod(interrupted)})
    send(Said("first"))
    assert [here.recv(), here.recv()] == [Said("first"), Said("second")]


def test_a_parent_that_is_gone_stops_no_one():
    here, there = Pipe(duplex=False)
    send = ToParent(os.dup(there.fileno()))
    here.close()
    send(Said("into the void"))
