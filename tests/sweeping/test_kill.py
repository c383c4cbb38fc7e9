"""kill -9 of a whole sweep, or of single jobs, at random moments: nothing is lost or done twice."""

import os
import random
import signal
import subprocess
import time

import pytest

GRID = ("seed=0,1,2", "optimizer.learning_rate=1e-3,2e-3", "launcher.jobs=2", "sweep.retries=5")


def without_history(record):
    told = {"starts", "finished", "hardware", "versions", "git"}
    return {
        key: {k: v for k, v in value.items() if k != "runs_dir"} if key == "settings" else value
        for key, value in record.items()
        if key not in told
    }


def written(sweeps):
    """Bytes of what all cells have measured."""
    return sum(path.stat().st_size for path in sweeps.runs.glob("*/metrics.jsonl"))


def test_a_sweep_killed_many_times_ends_as_an_undisturbed_one(sweeps, tmp_path_factory):
    undisturbed = type(sweeps)(tmp_path_factory.mktemp("undisturbed"))
    assert undisturbed.run(*GRID)[0] == 0

    chance = random.Random(0)
    finished: dict[str, str] = {}
    kills = 0
    for _ in range(60):
        begun = written(sweeps)
        process = sweeps.start(*GRID, step_seconds=0.15)
        # Most are killed once they have got somewhere, however busy the machine; some before.
        while chance.random() > 0.02 and process.poll() is None and written(sweeps) == begun:
            time.sleep(0.1)
        try:
            process.wait(timeout=chance.uniform(0.0, 0.7))
        except subprocess.TimeoutExpired:
            kill_all_of(process, chance)
            kills += 1
        for name, record in sweeps.records().items():
            assert finished.setdefault(name, record["finished"]) == record["finished"]
        if process.returncode == 0:
            break
    assert process.returncode == 0, "never came to its end"
    assert kills >= 3
    expected = {name: without_history(r) for name, r in undisturbed.records().items()}
    assert {name: without_history(r) for name, r in sweeps.records().items()} == expected


def test_a_killed_job_is_reported_and_the_others_go_on(sweeps):
    process = sweeps.start("seed=0,1", step_seconds=0.2)
    pid = None
    while pid is None:
        pid = next((int(p.read_text()) for p in sweeps.runs.glob("*/pids.txt")), None)
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    assert process.wait(60) == 1
    assert len(sweeps.records()) == 1
    assert "the process was killed by SIGKILL, probably because memory ran out" in process.told()


def test_jobs_of_a_killed_sweep_stop_by_themselves(sweeps):
    process = sweeps.start("seed=0,1", step_seconds=0.5)
    pids = []
    while not pids:
        pids = [int(p.read_text()) for p in sweeps.runs.glob("*/pids.txt")]
        time.sleep(0.05)
    process.kill()  # the parent alone
    process.wait()
    end = time.monotonic() + 20
    while alive(pids[0]):
        assert time.monotonic() < end, "the job outlived its sweep"
        time.sleep(0.1)
    assert sweeps.records() == {}


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_whose_server_was_killed_begins_again_once(sweeps, times):
    code, told = sweeps.run("seed=0", STAND_IN_LOSES_SERVER=str(times))
    assert "the process that starts jobs was killed; starting it again" in told
    assert "Traceback" not in told
    if times == 1:
        assert code == 0, told
        assert len(sweeps.records()) == 1
        assert not list(sweeps.runs.glob("*/failure.txt"))
    else:
        assert code == 1, told
        assert (
            "failed: the process that starts jobs was killed twice while this job was starting"
            in told
        )
        assert told.count("starting it again") == 1


def kill_all_of(process, chance):
    """The parent and its children, in a random order."""
    listed = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True)
    children = [int(pid) for pid in listed.stdout.split()]
    chance.shuffle(children)
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(10)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
