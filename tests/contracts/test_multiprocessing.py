"""multiprocessing still has what libraries/multiprocessing_internals.py uses."""

import multiprocessing
import os
import subprocess
import sys
from multiprocessing import forkserver, resource_tracker, spawn

import pytest

from anima_exp.libraries.multiprocessing_internals import helpers_ended, main_not_imported

posix = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="Windows has no fork"
)


@posix
def test_the_fork_server_and_the_resource_tracker_can_be_ended():
    code = """
import multiprocessing, subprocess, os
from anima_exp.libraries.multiprocessing_internals import helpers_ended

def children():
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True)
    return listed.stdout.decode().count("multiprocessing")

if __name__ == "__main__":
    with helpers_ended():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["json"])
        process = context.Process(target=print, args=("well",))
        process.start()
        process.join()
        print(children(), process.exitcode)
    print(children(), multiprocessing.forkserver._forkserver._preload_modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("well\n2 0\n0 ['__main__']\n", "")


@posix
def test_helpers_that_ran_before_are_left():
    resource_tracker.ensure_running()
    forkserver.ensure_running()
    before = forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid
    with helpers_ended():
        pass
    os.kill(before[0], 0)
    assert before == (
        forkserver._forkserver._forkserver_pid,
        resource_tracker._resource_tracker._pid,
    )
    forkserver._forkserver._stop()


def test_a_main_module_without_a_file_is_not_imported(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "main.py", raising=False)
    assert {"init_main_from_path", "init_main_from_name"} & set(spawn.get_preparation_data("x"))
    with main_not_imported():
        found = spawn.get_preparation_data("x")
    assert not {"init_main_from_path", "init_main_from_name"} & set(found)
