"""Jobs get a GPU each, and never one that another process has; no real GPU is needed to see it."""

import itertools

import pytest
from filelock import Timeout

from anima_exp.config import LauncherConfig
from anima_exp.errors import ConfigError
from anima_exp.sweeping.gpu_leases import Allocation, check_gpus, free_place, gpus, slots


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


@pytest.fixture
def eight_gpus(two_gpus):
    """The same of eight: GPU-0000 to GPU-0007."""
    listed = "".join(f"echo 'GPU-000{n}, NVIDIA A'\n" for n in range(8))
    (two_gpus / "nvidia-smi").write_text(f"#!/bin/sh\n{listed}")
    return [f"GPU-000{n}" for n in range(8)]


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
    monkeypatch.setattr("anima_exp.sweeping.gpu_leases._DEVICES", (str(tmp_path),))
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


@pytest.fixture
def threads_are_free(monkeypatch):
    """As if the user had not said how many threads to use."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("threads_are_free")
def test_cores_are_shared_out_between_jobs_on_a_cpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("anima_exp.sweeping.gpu_leases.cores", lambda: 8)
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


def test_a_job_of_several_gpus_takes_the_first_free_ones_whatever_lies_between(eight_gpus):
    every = slots(LauncherConfig(gpus_per_job=3))
    assert [slot.gpu for slot in every] == eight_gpus
    other = [every[1].lease, every[3].lease]
    for lease in other:
        lease.acquire()
    place, taken = free_place(every, 3)
    assert place.gpus == "GPU-0000,GPU-0002,GPU-0004"
    assert taken == [every[1], every[3]]


def test_fewer_free_gpus_than_a_job_needs_are_no_place(eight_gpus):
    every = slots(LauncherConfig(gpus_per_job=4))
    others = [slot.lease for slot in every[:5]]
    for lease in others:
        lease.acquire()
    place, taken = free_place(every, 4)
    assert place is None
    assert taken == every[:5]
    assert all(slot.free for slot in every[5:]), "what was looked at is still free"


def test_a_job_leases_all_of_its_gpus_or_none(eight_gpus):
    every = slots(LauncherConfig(gpus_per_job=2))
    first = Allocation((every[0], every[1]))
    held = first.take()
    with pytest.raises(Timeout):
        Allocation((every[2], every[1])).take()
    assert every[2].free, "a GPU is kept by a job that did not get the other one"
    for lease in held:
        lease.release()
    assert len(Allocation((every[2], every[1])).take()) == 2


def test_leases_are_taken_in_one_order_however_a_job_names_them(eight_gpus):
    """Of two jobs that want the same GPUs, the one that gets the first gets them all."""
    every = slots(LauncherConfig(gpus_per_job=2))
    for place in (Allocation((every[0], every[5])), Allocation((every[5], every[0]))):
        held = place.take()
        assert [lock.lock_file for lock in held] == sorted(lock.lock_file for lock in held)
        for lock in held:
            lock.release()


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_of_threads_that_the_user_chose_is_left_alone(threads_are_free, monkeypatch, name):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv(name, "1")
    assert [slot.threads for slot in slots(LauncherConfig(jobs=2))] == [None, None]


@pytest.mark.usefixtures("threads_are_free")
def test_threads_are_shared_out_between_the_processes_of_all_jobs(eight_gpus, monkeypatch):
    monkeypatch.setattr("anima_exp.sweeping.gpu_leases.cores", lambda: 32)
    assert slots(LauncherConfig(gpus_per_job=2))[0].threads == 4
    assert slots(LauncherConfig(gpus_per_job=2, jobs=1))[0].threads == 16
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [slot.threads for slot in slots(LauncherConfig(gpus_per_job=2))] == [16]
    assert [slot.threads for slot in slots(LauncherConfig(gpus_per_job=2, jobs=2))] == [8, 8]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpus_per_job": 9}, "launcher.gpus_per_job=9, but this machine has 8 GPUs."),
        ({"gpus_per_job": 3, "jobs": 3}, "8 GPUs with launcher.gpus_per_job=3 hold 2"),
    ],
)
def test_too_few_gpus_for_what_is_wanted_are_a_mistake(eight_gpus, settings, message):
    with pytest.raises(ConfigError) as error:
        slots(LauncherConfig(**settings))
    assert message in str(error.value)


def test_cells_cannot_both_share_a_gpu_and_have_several(compose):
    with pytest.raises(ConfigError, match=r"launcher\.jobs_per_gpu=2 and .*=2 contradict"):
        compose("launcher.jobs_per_gpu=2", "launcher.gpus_per_job=2")


def test_a_cell_must_not_want_other_gpus_than_it_gets(compose):
    with pytest.raises(
        ConfigError,
        match=r"trainer\.num_gpus=2, but a run of a sweep gets launcher\.gpus_per_job=1",
    ):
        check_gpus(compose("trainer.num_gpus=2"))
    check_gpus(compose("trainer.num_gpus=2", "launcher.gpus_per_job=2"))
    check_gpus(compose("launcher.gpus_per_job=2"))


def test_two_sweeps_of_two_gpus_a_cell_end_and_never_share_one(sweeps, eight_gpus):
    """Five GPUs: each sweep could hold one that the other waits for."""
    how = {"step_seconds": 0.05, "CUDA_VISIBLE_DEVICES": ",".join(eight_gpus[:5])}
    both = [
        sweeps.start("launcher.gpus_per_job=2", f"seed={seeds}", **how)
        for seeds in ("0,1,2,3", "4,5,6,7")
    ]
    assert [process.wait(120) for process in both] == [0, 0], both[0].told() + both[1].told()
    found = [place.read_text().split()[0].split(",") for place in sweeps.runs.glob("*/gpu.txt")]
    assert [len(set(cell)) for cell in found] == [2] * 8
    assert_nobody_shares(sweeps)


def test_eight_jobs_of_two_sweeps_never_share_a_gpu(sweeps, two_gpus):
    how = {"step_seconds": 0.05, "CUDA_VISIBLE_DEVICES": "GPU-aaaa,GPU-bbbb"}
    both = [sweeps.start("seed=0,1,2,3", **how), sweeps.start("seed=4,5,6,7", **how)]
    assert [process.wait(120) for process in both] == [0, 0]
    jobs = assert_nobody_shares(sweeps)
    assert set(jobs) == {"GPU-aaaa", "GPU-bbbb"}
    assert sum(jobs.values()) == 8


def assert_nobody_shares(sweeps):
    """Returns how many jobs each GPU has had."""
    times = {}
    for place in sweeps.runs.glob("*/gpu.txt"):
        visible, begun, ended = place.read_text().split()
        for gpu in visible.split(","):
            times.setdefault(gpu, []).append((float(begun), float(ended)))
    for held in times.values():
        held.sort()
        for (_, ended), (begun, _) in itertools.pairwise(held):
            assert ended <= begun, "two jobs had one GPU at once"
    return {gpu: len(held) for gpu, held in times.items()}
