"""Three processes of one run: what they tell each other."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.distributed import HashStore

from anima_exp.distributed import process_group
from anima_exp.distributed.environment import RankInfo, rank_info, select_local_gpu
from anima_exp.distributed.process_group import _launcher_hidden, _reports_first, join_process_group
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup, _buckets
from anima_exp.errors import ConfigError, DataError, PeerLostError

LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def environments(processes):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    for rank in range(processes):
        numbers = {
            "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes,
            "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1",
            "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        yield {**os.environ, **{key: str(value) for key, value in numbers.items()}}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "three_processes.py"),
        str(folder),
    ]
    started = [subprocess.Popen(command, env=one) for one in environments(3)]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


def test_work_is_divided_and_comes_back_in_order(found):
    for one in found:
        assert one["spread"] == ["a0", "b1", "c2", "d0", "e1", "f2", "g0"]
        assert one["fewer"] == ["a0"]  # the others have nothing to do
        assert one["nothing"] == []
        assert one["total"] == [4.5, 3.0]
        assert one["least"] == 8


def test_the_first_speaks_for_all(found):
    assert [one["shared"] for one in found] == ["from 0"] * 3
    assert [one["led"] for one in found] == [[0, 0], [1, 0], [2, 0]]  # alone, and in lockstep
    assert [one["copied"] for one in found] == [[0.0, 0.0]] * 3


def test_the_same_processes_meet_again_for_another_run(found):
    assert [one["environment"] for one in found] == [True] * 3
    assert [one["again"] for one in found] == [[3, [3, 3], rank > 0] for rank in range(3)]


def test_what_is_cached_is_made_by_one_before_the_others(found):
    assert [one["turns"] for one in found] == [False, True, True]


def test_gradients_are_summed_where_any_process_has_one(found):
    for one in found:
        assert one["gradients"] == [[3.0] * 3, [1.0] * 3, None, [3.0] * 3]


def test_a_disagreement_is_reported_once_with_its_setting(found):
    text, reported = found[0]["disagree"]
    assert "lora.rank=8 on process 0, 16 on process 2" in text
    assert not reported
    assert [one["disagree"][1] for one in found[1:]] == [True, True]


def test_a_mistake_of_the_first_ends_the_others_silently(found):
    assert found[0]["failed"] == ["no such file", False]
    assert [one["failed"][1] for one in found[1:]] == [True, True]


def test_libraries_then_see_a_process_that_is_alone(found):
    assert [one["seen"] for one in found] == [1, 1, 1]


def test_alone_nothing_is_divided():
    assert SINGLE_PROCESS.map_over_ranks([1, 2, 3], list) == [1, 2, 3]
    assert SINGLE_PROCESS.all_reduce_sum(2.0) == [2.0]
    assert SINGLE_PROCESS.run_on_main(lambda: object) is object
    assert SINGLE_PROCESS.is_main


def test_in_lockstep_each_does_all():
    world = ProcessGroup(rank=1, size=2, lockstep=True)
    assert world.map_over_ranks([1, 2, 3], list) == [1, 2, 3]
    assert list(world.local_slice([1, 2, 3])) == [1, 2, 3]
    assert list(replace(world, lockstep=False).local_slice([1, 2, 3])) == [2]


def test_gradients_travel_in_buckets_of_one_type():
    import torch

    mib = torch.zeros(2**18)
    sizes = [len(one) for one in _buckets([mib] * 100)]
    assert sizes == [64, 36]
    assert [len(one) for one in _buckets([mib, mib.to(torch.bfloat16), mib])] == [1, 1, 1]


@pytest.fixture
def launcher(monkeypatch):
    def _launcher(**values):
        for name in (*LAUNCHER, "CUDA_VISIBLE_DEVICES"):
            monkeypatch.setenv(name, "")  # so that what is set later is undone
            monkeypatch.delenv(name)
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return _launcher


def test_a_process_takes_the_gpu_of_its_place(launcher):
    launcher(RANK=5, WORLD_SIZE=8, LOCAL_RANK=1, LOCAL_WORLD_SIZE=4)
    assert (rank_info().rank, rank_info().size, rank_info().local_rank) == (5, 8, 1)
    select_local_gpu(rank_info())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("visible", "taken"), [("4,6", "6"), ("GPU-a, GPU-b", "GPU-b"), ("3", "3"), ("", "")]
)
def test_of_the_visible_gpus_it_takes_its_own(launcher, visible, taken):
    launcher(RANK=1, WORLD_SIZE=2, LOCAL_RANK=1, CUDA_VISIBLE_DEVICES=visible)
    select_local_gpu(rank_info())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == taken


def test_of_a_launcher_nothing_is_left_for_the_libraries(launcher):
    launcher(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0, LOCAL_WORLD_SIZE=1, HOME="/home/ada",
             ACCELERATE_MIXED_PRECISION="bf16")  # fmt: skip
    with join_process_group(rank_info()) as world:
        assert world is SINGLE_PROCESS
        assert rank_info() == RankInfo()
        left = set(LAUNCHER) | {"ACCELERATE_MIXED_PRECISION", "HOME"}
        assert left & os.environ.keys() == {"HOME"}


def test_another_thread_is_in_its_place_while_a_run_hides_the_launcher(launcher):
    launcher(RANK=1, WORLD_SIZE=2, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2)
    before = rank_info()
    with _launcher_hidden():
        assert "RANK" not in os.environ
        assert rank_info() == before == RankInfo(1, 2, 1, 2)
    assert rank_info() == before


def test_a_lost_process_is_reported_only_if_no_process_gives_the_cause():
    store = HashStore()
    assert _reports_first(store, PeerLostError("gone (by peer 1)"))
    assert not _reports_first(store, PeerLostError("gone (by peer 2)"))
    store = HashStore()
    assert _reports_first(store, DataError("no such file"))
    assert not _reports_first(store, DataError("no such file"))
    assert not _reports_first(store, PeerLostError("gone"))


def test_more_processes_than_gpus_are_refused(launcher):
    launcher(RANK=2, WORLD_SIZE=3, LOCAL_RANK=2, CUDA_VISIBLE_DEVICES="0,1")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0,1 shows 2 GPUs"):
        select_local_gpu(rank_info())


def test_a_launch_that_would_split_the_model_by_itself_is_refused(launcher):
    launcher(RANK=0, WORLD_SIZE=2, ACCELERATE_USE_FSDP="true")
    with pytest.raises(ConfigError, match=r"trainer\.fsdp"):
        rank_info()
    launcher(WORLD_SIZE="two")
    with pytest.raises(ConfigError, match="WORLD_SIZE=two is not a number"):
        rank_info()


def test_an_error_is_shown_even_if_the_connection_to_the_others_cannot_be_closed(monkeypatch):
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    never, asked = threading.Event(), []

    def hanging():
        asked.append("to close")
        never.wait(60)

    monkeypatch.setattr(process_group, "_LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(process_group, "_meet", HashStore)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(distributed, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(distributed, "destroy_process_group", hanging)
    began = time.monotonic()
    with (
        pytest.raises(PeerLostError),
        join_process_group(RankInfo(rank=1, size=2, local_rank=1, local_size=2)),
    ):
        raise PeerLostError("gone")
    never.set()
    assert asked == ["to close"]
    assert time.monotonic() - began < 30
