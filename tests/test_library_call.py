"""A run called from Python: silent, in any thread, any number of times, the process as before."""

import asyncio
import logging
import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from anima_exp import events
from anima_exp.distributed import process_state
from anima_exp.errors import RunError, RunInterrupted, RunPaused
from anima_exp.experiment.run import run
from anima_exp.results.record import Record
from anima_exp.system.signals import StopRequest

TINY = (
    "data.max_rows=24", "data.heldout_rows=4", "trainer.batch_size=4", "trainer.max_steps=3",
    "trainer.log_every=1", "trainer.save_every=2", "evals=[heldout]", "tracking=none",
    "trainer.precision=bf16",  # which bounds the kernel caches by variables
)  # fmt: skip


@pytest.fixture(scope="module")
def config(compose, tmp_path_factory):
    """config(name, *overrides) -> a small run in a folder of that name."""
    runs = tmp_path_factory.mktemp("runs")
    return lambda name, *overrides: compose(*TINY, f"run_dir={runs / name}", *overrides)


def state():
    return {
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "environment": dict(os.environ),
        "filters": [*warnings.filters],
        "level": logging.getLogger("bitsandbytes.autograd._functions").level,
    }


def measured(record):
    return record.scores["heldout_loss"]


@pytest.fixture(scope="module")
def silent(config):
    """The first run of all, without a listener."""
    wanted = config("silent")
    before = state()
    loss = measured(run(wanted))
    return wanted, loss, before, state()


def test_a_run_leaves_handlers_environment_filters_and_log_levels_as_they_were(silent):
    _, _, before, after = silent
    assert set(after.pop("environment").items()) ^ set(before.pop("environment").items()) == set()
    assert after == before


def test_a_run_that_fails_does_too(config, monkeypatch):
    from anima_exp.training.step import GradientStep

    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(GradientStep, "__call__", broken)
    before = state()
    with pytest.raises(ZeroDivisionError):
        run(config("broken"))
    assert state() == before


def test_without_a_listener_nothing_is_printed(config, silent, capfd):
    assert measured(run(config("quiet"))) == measured(run(silent[0])) == silent[1]
    assert capfd.readouterr() == ("", "")


def test_a_listener_hears_the_whole_run_in_order_and_nothing_is_printed(config, capfd):
    heard = []
    wanted = config("heard", "trainer.eval_every=2")
    record = run(wanted, listen=heard.append)
    known = [type(one).__name__ for one in heard]
    assert [name for name in known if name not in ("Said", "Working")] == [
        "Plan", "Began", "Evaluated",
        "Logged", "Evaluated", "Logged", "Logged",
        "Ended", "Evaluated", "Done",
    ]  # fmt: skip
    assert [one.row["step"] for one in heard if isinstance(one, events.Logged)] == [1, 2, 3]
    done = heard[-1]
    kept = Record.load(done.trained.parent)
    assert (done.record.name, done.record.finished) == (kept.name, kept.finished)
    assert done.record.scores == record.scores
    again = []
    assert run(wanted, listen=again.append) == record
    (only,) = again
    assert isinstance(only, events.AlreadyDone) and only.record == kept
    assert capfd.readouterr() == ("", "")


def test_a_run_that_pauses_says_once_that_its_steps_have_ended(config, silent):
    heard = []
    with pytest.raises(RunPaused):
        run(config("pausing"), until=1, listen=heard.append)
    assert [type(event).__name__ for event in heard].count("Ended") == 1


def test_a_stop_from_another_thread_ends_a_run_in_a_thread_with_a_checkpoint(config, silent):
    stop, heard = StopRequest(), []
    wanted = config("stopped")

    def listen(event):
        heard.append(event)
        if isinstance(event, events.Logged):  # from a thread that is not the run's
            other = threading.Thread(target=stop.request)
            other.start()
            other.join()

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(
            RunInterrupted, match=r"Stopped on request at step [12] of 3\. "
        ) as ended:
            threads.submit(run, wanted, listen=listen, stop=stop).result()
        assert ended.value.exit_status == 143
        assert events.Stopping("Stop requested") in heard
        with pytest.raises(RunInterrupted, match="Stopped on request before the run started"):
            run(wanted, stop=stop)
        assert measured(threads.submit(run, wanted).result()) == silent[1]
    assert Record.load(Path(wanted.run_dir)).starts == 2


def test_of_two_runs_at_the_same_time_each_hears_its_own_and_one_computes_at_a_time(config, silent):
    inside, most = [], []

    def compute(name):
        heard = []

        def listen(event):
            heard.append(event)
            if isinstance(event, events.Began):
                inside.append(name)
                most.append(len(inside))
            if isinstance(event, events.Done):
                inside.remove(name)

        return measured(run(configs[name], listen=listen)), heard

    configs = {name: config(name) for name in ("one", "two")}
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(compute, ["one", "two"]))
    assert most == [1, 1]
    assert [loss for loss, _ in found] == [silent[1]] * 2
    for name, (_, heard) in zip(["one", "two"], found, strict=True):
        assert heard[-1].trained.parent.name == name
        assert sum(isinstance(one, events.Logged) for one in heard) == 3
    waited = [one for _, heard in found for one in heard if isinstance(one, events.Said)]
    assert [one.text for one in waited] == ["waiting: this process computes another run first"]


def test_a_run_works_inside_a_running_event_loop(config, silent):
    async def notebook():
        return run(config("notebook")), await asyncio.to_thread(run, config("thread"))

    assert [measured(record) for record in asyncio.run(notebook())] == [silent[1]] * 2


def test_a_listener_that_starts_a_run_is_refused_in_one_line(config):
    def listen(event):
        if isinstance(event, events.Plan):
            run(config("inner"))

    with pytest.raises(RunError, match="This thread is already computing a run"):
        run(config("outer"), listen=listen)


def test_who_waits_for_its_turn_can_be_stopped():
    stop, began = StopRequest(), threading.Event()

    def other():
        with process_state.borrowed():
            began.set()
            time.sleep(1)

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(other)
        began.wait()
        stop.request()
        with (
            pytest.raises(RunInterrupted, match="while it waited for another run"),
            process_state.borrowed(stop),
        ):
            pass
        assert not holding.done()


def test_products_of_fp32_numbers_are_exact_again_after_a_run():
    import torch

    before = torch.backends.fp32_precision
    with process_state.borrowed():
        torch.backends.fp32_precision = "tf32"  # as the training loop on a GPU
    assert torch.backends.fp32_precision == before != "tf32"
