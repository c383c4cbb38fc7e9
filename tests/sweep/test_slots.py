"""Jobs get a GPU each, and never one that another process has; no real GPU is needed to see it."""

import itertools

import pytest

from anima_exp.config import LauncherConfig
from anima_exp.errors import ConfigError
from anima_exp.sweep.slots import gpus, slots


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A driver's tool that lists two GPUs."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU-aaaa, NVIDIA A'\necho 'GPU-bbbb, NVIDIA A'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tool.parent


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, ["GPU-aaaa", "GPU-bbbb"]),
        ("1", ["GPU-bbbb"]),
        ("GPU-bbbb,0", ["GPU-bbbb", "GPU-aaaa"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["GPU-bbbb"]),
        ("GPU-b", ["GPU-bbbb"]),
        ("NoDevFiles", []),
        ("7", []),
    ],
)
def test_gpus_are_those_that_this_process_may_see(two_gpus, monkeypatch, visible, found):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == found


def test_gpus_of_different_kinds_keep_their_numbers(two_gpus, monkeypatch):
    """CUDA counts the fastest first, the driver's tool by place on the bus."""
    listed = "echo 'GPU-aaaa, Slow'\necho 'GPU-bbbb, Fast'\n"
    (two_gpus / "nvidia-smi").write_text(f"#!/bin/sh\n{listed}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpus() == ["0"]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert gpus() == ["GPU-aaaa"]


def test_what_the_tool_says_besides_gpus_is_none(two_gpus):
    (two_gpus / "nvidia-smi").write_text("#!/bin/sh\necho No devices were found\n")
    assert gpus() == []


def test_gpus_that_nothing_lists_are_a_mistake_with_a_way_out(two_gpus, monkeypatch, tmp_path):
    (two_gpus / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", str(two_gpus))
    monkeypatch.setattr("anima_exp.sweep.slots._DEVICES", (str(tmp_path),))
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=0,1"):
        gpus()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert gpus() == ["0", "1"]


def test_without_the_tool_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == []


def test_jobs_spread_over_the_gpus_before_they_share_one(two_gpus):
    places = slots(LauncherConfig(jobs_per_gpu=2))
    assert [slot.gpu for slot in places] == ["GPU-aaaa", "GPU-bbbb", "GPU-aaaa", "GPU-bbbb"]
    assert len({slot.name for slot in places}) == 4


def test_more_jobs_than_places_is_a_mistake(two_gpus):
    with pytest.raises(ConfigError, match=r"launcher\.jobs=3, but 2 GPUs .* hold 2"):
        slots(LauncherConfig(jobs=3))


def test_cores_are_shared_out_between_jobs_on_a_cpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("anima_exp.sweep.slots._cores", lambda: 8)
    assert [slot.threads for slot in slots(LauncherConfig())] == [8]
    assert [slot.threads for slot in slots(LauncherConfig(jobs=3))] == [2, 2, 2]


def test_a_leased_gpu_is_not_free_until_its_holder_lets_go(two_gpus):
    first, second = slots(LauncherConfig())
    lease = first.lease
    lease.acquire()
    assert not slots(LauncherConfig())[0].free
    assert second.free
    lease.release()
    assert first.free


def test_eight_jobs_of_two_sweeps_never_share_a_gpu(sweeps, two_gpus):
    how = {"step_seconds": 0.05, "CUDA_VISIBLE_DEVICES": "GPU-aaaa,GPU-bbbb"}
    both = [sweeps.start("seed=0,1,2,3", **how), sweeps.start("seed=4,5,6,7", **how)]
    assert [process.wait(120) for process in both] == [0, 0]
    times = {}
    for place in sweeps.runs.glob("*/gpu.txt"):
        gpu, begun, ended = place.read_text().split()
        times.setdefault(gpu, []).append((float(begun), float(ended)))
    assert set(times) == {"GPU-aaaa", "GPU-bbbb"}
    assert sum(map(len, times.values())) == 8
    for held in times.values():
        held.sort()
        for (_, ended), (begun, _) in itertools.pairwise(held):
            assert ended <= begun, "two jobs had one GPU at once"
