"""Forked processes give the results in the order of the items, which are read as needed."""

import os
import pickle
import signal
import subprocess
import sys

import pytest

from anima_exp.errors import DataError
from anima_exp.system import forked


def test_results_have_the_order_of_the_items_and_come_from_other_processes():
    here = os.getpid()
    found = [*forked.map_forked(lambda n: (n, os.getpid()), range(50), processes=2)]
    assert [number for number, _ in found] == [*range(50)]
    assert here not in {process for _, process in found}


def test_a_function_sees_the_memory_of_the_process_that_forks():
    cannot_be_pickled = {"double": lambda n: 2 * n}
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(cannot_be_pickled)
    found = forked.map_forked(lambda n: cannot_be_pickled["double"](n), [1, 2], processes=2)
    assert [*found] == [2, 4]


def test_items_are_not_read_far_ahead():
    read = []

    def items():
        for number in range(1000):
            read.append(number)
            yield number

    results = forked.map_forked(lambda n: n, items(), processes=2)
    assert next(results) == 0
    assert len(read) < 20
    results.close()
    assert len(read) < 20


@pytest.mark.parametrize("error", [DataError("row 7"), AttributeError("no such column")])
def test_an_error_of_the_function_is_raised_here_with_its_type_and_notes(error):
    def fails(number):
        if number == 7:
            error.add_note("data.recipe at row 7")
            raise error
        return number

    found = []
    with pytest.raises(type(error), match=str(error)) as raised:
        found += forked.map_forked(fails, range(20), processes=2)
    assert raised.value.__notes__ == ["data.recipe at row 7"]


def test_an_error_of_the_items_is_raised_here_after_the_results_before_it():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        [*forked.map_forked(lambda n: n, items(), processes=2)]


def test_two_pools_one_after_the_other_have_their_own_functions():
    assert [*forked.map_forked(lambda n: n + 1, [1], processes=1)] == [2]
    assert [*forked.map_forked(lambda n: n + 2, [1], processes=1)] == [3]


def test_tokenizers_start_no_threads_in_a_worker():
    name = "TOKENIZERS_PARALLELISM"
    assert [*forked.map_forked(os.environ.get, [name], processes=1)] == ["false"]


def test_an_interrupt_of_all_processes_is_reported_by_one():
    program = """
import os, sys, time
from anima_exp.system import forked

def slow(number):
    time.sleep(0.05)
    return number

for number in forked.map_forked(slow, range(10**9), processes=2):
    print(number, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "0\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1
    with pytest.raises(ProcessLookupError):  # none is left
        os.killpg(process.pid, 0)


def test_a_system_that_cannot_fork_has_one_worker(monkeypatch):
    assert 1 <= forked.workers() <= 16
    monkeypatch.setattr(forked.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert forked.workers() == 1
