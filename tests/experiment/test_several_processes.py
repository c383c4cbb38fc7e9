"""Several processes that train one run together, on a CPU: what one process would have found."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from anima_exp import events
from anima_exp.distributed.environment import RankInfo
from anima_exp.errors import ConfigError, RunInterrupted
from anima_exp.experiment.preflight import check_world_size
from anima_exp.experiment.run import run
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.system.signals import StopRequest

SETTINGS = (
    "data.max_rows=64", "data.heldout_rows=24", "trainer.batch_size=6",
    "trainer.num_epochs=1.046875",  # 12 steps, and the last has one row for all processes
    "trainer.log_every=1", "trainer.eval_every=6", "trainer.save_every=4", "lora.dropout=0.1",
    "evals=[heldout,exact_match,samples,choices,answers]", "evals.exact_match.max_rows=5",
    "evals.choices.max_questions=3", "evals.answers.max_questions=5",
    "evals.answers.max_new_tokens=8", "evals.exact_match.max_new_tokens=8",
    "evals.custom.answered=support.measured.answered",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def a_device_for_each():
    import torch

    if 0 < torch.cuda.device_count() < 3:
        pytest.skip("three processes need three GPUs, or none")


@pytest.fixture(scope="module")
def alone(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    run(compose(*SETTINGS, f"run_dir={folder}", "tracking=none"))
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Killed after a checkpoint of two processes, and gone on with by three."""
    folder = tmp_path_factory.mktemp("together") / "run"
    process = start(folder, "trainer.num_gpus=2")
    wait_for(folder / "checkpoints" / "checkpoint-4", process)
    os.kill(children(process)[-1], signal.SIGKILL)
    killed = process.communicate(timeout=120)
    first = (process.returncode, killed[1], sorted(path.name for path in folder.iterdir()))
    process = start(folder, "trainer.num_gpus=3")
    out = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return folder, first, out


def start(folder, *overrides, env=None):
    command = [sys.executable, "-m", "anima_exp.train", *SETTINGS, f"run_dir={folder}", *overrides]
    env = (env or os.environ) | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def wait_for(path, process):
    patience = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.01)


def children(process):
    import psutil

    return sorted(child.pid for child in psutil.Process(process.pid).children())


def lines(folder, name):
    timed = {"tokens_per_second", "eval_seconds", "memory_gib"}
    rows = JsonLinesLog(folder / name).rows()
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def test_losses_and_scores_are_those_of_one_process_to_rounding(alone, together):
    one, several = lines(alone, "metrics.jsonl"), lines(together[0], "metrics.jsonl")
    assert [row.keys() for row in several] == [row.keys() for row in one]
    assert len(one) == 12 + 3
    for theirs, ours in zip(several, one, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)
    for name in ("generations.jsonl", "accuracies.jsonl"):
        assert lines(together[0], name) == lines(alone, name)


def test_a_base_in_parts_gives_what_a_whole_one_gives(alone, tmp_path):
    process = start(tmp_path / "run", "trainer.num_gpus=2", "trainer.fsdp=true", "tracking=none")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "the base sharded over 2 processes" in out
    for theirs, ours in zip(
        lines(tmp_path / "run", "metrics.jsonl"), lines(alone, "metrics.jsonl"), strict=True
    ):
        assert theirs == pytest.approx(ours, rel=1e-4)
    assert lines(tmp_path / "run", "generations.jsonl") == lines(alone, "generations.jsonl")


def test_a_finished_run_is_measured_and_asked_by_several(alone, tmp_path):
    def ask(program, *overrides):
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [sys.executable, "-m", *torchrun, "-m", f"anima_exp.{program}", f"run={alone}"]
        found = subprocess.run([*command, *overrides], capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert ask("evaluate", "evals=[heldout]").count("heldout_loss") == 1
    (found,) = (alone / "evaluations").iterdir()
    expected = Record.load(alone).scores["heldout_loss"]
    assert json.loads(found.read_text())["scores"]["heldout_loss"] == pytest.approx(expected)
    ask("generate", "questions=tiny_zh", "max_questions=5", "max_new_tokens=8",
        f"out={tmp_path}/a.jsonl")  # fmt: skip

    def texts(file):
        return [json.loads(line)["text"] for line in file.read_text().splitlines()]

    assert texts(tmp_path / "a.jsonl") == texts(alone / "answers.jsonl")


def test_answers_are_those_of_one_process(alone, together):
    def answers(folder):
        rows = map(json.loads, (folder / "answers.jsonl").read_text().splitlines())
        return [(row["question_id"], row["text"]) for row in rows]

    assert answers(together[0]) == answers(alone)
    assert len(answers(alone)) == 5


def test_the_adapter_is_that_of_one_process_to_rounding(alone, together):
    one, several = (
        load_file(f / "adapter/adapter_model.safetensors") for f in (alone, together[0])
    )
    assert one.keys() == several.keys()
    assert max(abs(one[key] - several[key]).max() for key in one) < 1e-4


def test_a_killed_process_ends_the_run_with_one_line(together):
    status, told, left = together[1]
    assert status == 1
    assert told.count("anima_exp:") == 1
    assert "Process 1 of 2 was killed by SIGKILL" in told
    assert "Traceback" not in told
    assert "record.json" not in left
    assert "failure.txt" not in left


def test_one_process_writes_and_speaks(together):
    folder, _, (out, err) = together
    assert err == ""
    assert out.count("3 processes share a batch") == 1
    assert out.count("step 12/12  loss") == 1
    # W&B keeps one run, begun by the first start and gone on with by the second.
    offline = {path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")}
    assert len(offline) == 1


def test_the_record_tells_processes_and_the_tokens_of_each(alone, together):
    one, several = Record.load(alone), Record.load(together[0])
    assert (one.processes, several.processes) == (1, 3)
    assert several.tokens == one.tokens  # of the whole
    assert several.starts == 2
    assert len(several.tokens_by_process) == 3
    assert max(several.tokens_by_process) < 1.5 * min(several.tokens_by_process)
    assert one.tokens_by_process == [one.tokens]


def test_a_stop_told_to_all_and_passed_on_leaves_a_checkpoint(tmp_path):
    process = start(
        tmp_path / "run",
        "trainer.num_gpus=2",
        "trainer.num_epochs=null",
        "trainer.max_steps=2000",
        "tracking=none",
    )
    wait_for(tmp_path / "run" / "checkpoints" / "checkpoint-4", process)
    for one in (process.pid, *children(process)):  # as Slurm does
        os.kill(one, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert err.count("anima_exp: Stopped by SIGTERM at step") == 1
    assert not (tmp_path / "run" / "failure.txt").exists()


def test_processes_that_were_told_different_things_stop_with_one_line(tmp_path):
    base = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29631"}
    started = [
        start(tmp_path / "run", f"lora.rank={8 * (rank + 1)}", env={**base, "RANK": str(rank)})
        for rank in range(2)
    ]
    told = "".join(process.communicate(timeout=120)[1] for process in started)
    assert [process.returncode for process in started] == [1, 1]
    assert told.count("anima_exp:") == 1
    assert "lora.rank=8 on process 0, 16 on process 1" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "here", "text"),
    [
        (
            ("trainer.num_gpus=2", "trainer.batch_size=1"),
            RankInfo(),
            r"trainer\.batch_size=1 is smaller than the number of processes \(2\)",
        ),
        (("trainer.batch_size=3",), RankInfo(0, 4), r"number of processes \(4\)"),
        (("trainer.num_gpus=2",), RankInfo(0, 4), "does not match the 4 processes"),
        (("trainer.fsdp=true",), RankInfo(), r"only one\. Add trainer\.num_gpus=2"),
        (
            ("trainer.num_gpus=2", "model.device_map=auto"),
            RankInfo(),
            r"model\.device_map=auto spreads",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(compose, overrides, here, text):
    with pytest.raises(ConfigError, match=text):
        check_world_size(compose(*overrides), here)


def test_as_many_processes_as_were_asked_for(compose):
    assert check_world_size(compose(), RankInfo()) == 1
    assert check_world_size(compose("trainer.num_gpus=3"), RankInfo()) == 3
    assert check_world_size(compose("launcher.gpus_per_job=2"), RankInfo()) == 2
    assert check_world_size(compose("trainer.num_gpus=4"), RankInfo(1, 4)) == 4


@pytest.mark.slow  # two processes that load a model
def test_from_python_the_processes_are_heard_and_stopped_and_nothing_is_printed(
    compose, tmp_path, capfd
):
    stop, heard = StopRequest(), []
    config = compose(
        "data.max_rows=64", "data.heldout_rows=8", "trainer.batch_size=6", "trainer.log_every=1",
        "trainer.max_steps=2000", "trainer.num_gpus=2", "evals=[heldout]", "tracking=none",
        f"run_dir={tmp_path}/run",
    )  # fmt: skip

    def listen(event):
        heard.append(event)
        if isinstance(event, events.Logged) and event.row["step"] == 3:
            threading.Thread(target=stop.request).start()

    with pytest.raises(RunInterrupted):
        run(config, listen=listen, stop=stop)
    kinds = [type(event).__name__ for event in heard]
    assert kinds.count("Plan") == kinds.count("Began") == kinds.count("Stopping") == 1
    assert [one.row["step"] for one in heard if isinstance(one, events.Logged)][:3] == [1, 2, 3]
    (said,) = [one.text for one in heard if isinstance(one, events.Warned)]
    assert said.startswith("Stopped by SIGTERM at step ")
    assert list((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
    assert capfd.readouterr() == ("", "")


TWO_RUNS = """
import json, os, sys
from pathlib import Path
import anima_exp as ax

before = dict(os.environ)
for folder in ("first", "second"):
    record = ax.train(ax.compose(*sys.argv[1:], run_dir=folder))
    Path(f"{folder}-{before['RANK']}.json").write_text(json.dumps(record.table()))
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"):
        assert os.environ[name] == before[name]
"""


@pytest.mark.slow  # two processes that load a model
def test_the_processes_of_torchrun_make_a_second_run_together(tmp_path):
    (tmp_path / "two_runs.py").write_text(TWO_RUNS)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    few = ["trainer.max_steps=2", "trainer.batch_size=4", "data.max_rows=32", "evals=[heldout]"]
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, "two_runs.py", *few, "tracking=none"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = [Record.load(tmp_path / folder) for folder in ("first", "second")]
    returned = [json.loads((tmp_path / f"first-{rank}.json").read_text()) for rank in (0, 1)]
    assert returned == [records[0].table()] * 2, "every process has the record"
    assert [record.processes for record in records] == [2, 2]
    assert [record.starts for record in records] == [1, 1]
    assert records[0].scores == pytest.approx(records[1].scores)
