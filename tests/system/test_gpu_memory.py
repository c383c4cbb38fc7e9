"""torch's pieces of GPU memory grow where that works, and as the user says where the user says."""

import os
import subprocess
import sys
from importlib import metadata

import pytest

from anima_exp.system import hardware
from anima_exp.system.hardware import expandable, use_expandable_segments, works_here

NEW, OLD = hardware.VARIABLES
GROWS = "expandable_segments:True"


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch, tmp_path):
    """A Linux machine with torch 2.11 for CUDA and an H100, on which CUDA has not started."""
    before = metadata.version

    def version(package):
        return "2.11.0+cu130" if package == "torch" else before(package)

    kernel = tmp_path / "osrelease"
    kernel.write_text("6.8.0-45-generic\n")
    monkeypatch.setattr(hardware, "version", version)
    monkeypatch.setattr(hardware, "_KERNEL", kernel)
    monkeypatch.setattr(hardware, "_in_force", False)
    monkeypatch.setattr(hardware, "_cuda_started", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(hardware, "gpus", lambda: [gpu("NVIDIA H100 80GB HBM3")])
    for name in hardware.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    for name in hardware.VARIABLES:
        os.environ.pop(name, None)


def gpu(name):
    return hardware.Gpu("GPU-1", name, 79.1, 9.0)


def given():
    return {name: os.environ[name] for name in hardware.VARIABLES if name in os.environ}


def test_pieces_of_memory_grow_on_linux_with_cuda():
    assert not expandable()
    use_expandable_segments()
    assert given() == {NEW: GROWS}
    assert expandable()


@pytest.mark.parametrize("name", hardware.VARIABLES)
@pytest.mark.parametrize(
    ("value", "grows"),
    [
        ("", False),
        ("expandable_segments:False", False),
        ("max_split_size_mb:128", False),
        ("max_split_size_mb:128, expandable_segments:True", True),
    ],
)
def test_what_the_user_has_set_stays_and_is_known(monkeypatch, name, value, grows):
    monkeypatch.setenv(name, value)
    use_expandable_segments()
    assert given() == {name: value}
    assert expandable() is grows


def test_torch_2_9_reads_the_old_name_and_is_quiet_with_both(monkeypatch):
    monkeypatch.setattr(hardware, "version", lambda _: "2.9.1+cu128")
    use_expandable_segments()
    assert given() == {NEW: GROWS, OLD: GROWS}


@pytest.mark.parametrize("release", ["5.15.153.1-microsoft-standard-WSL2", "5.15.148-tegra"])
def test_it_is_left_alone_under_windows_and_on_small_computers(monkeypatch, release):
    hardware._KERNEL.write_text(f"{release}\n")
    use_expandable_segments()
    assert given() == {}
    assert not works_here()
    monkeypatch.setattr(sys, "platform", "win32")
    hardware._KERNEL.write_text("6.8.0-45-generic\n")
    assert not works_here()


@pytest.mark.parametrize(
    ("name", "works"),
    [
        ("GRID V100D-32Q", False), ("NVIDIA A40-48Q", False), ("NVIDIA A100-4-20C", False),
        ("NVIDIA A100-SXM4-80GB", True), ("NVIDIA GeForce RTX 4090", True), ("NVIDIA L40S", True),
    ],
)  # fmt: skip
def test_it_is_left_alone_on_a_gpu_that_a_hypervisor_divides(monkeypatch, name, works):
    monkeypatch.setattr(hardware, "gpus", lambda: [gpu(name)])
    assert works_here() is works


@pytest.mark.parametrize("build", ["2.13.0+cpu", "2.11.0+rocm6.4"])
def test_it_is_left_alone_where_torch_is_not_for_cuda(monkeypatch, build):
    monkeypatch.setattr(hardware, "version", lambda _: build)
    use_expandable_segments()
    assert given() == {}


def test_nothing_is_set_once_cuda_has_started(monkeypatch):
    monkeypatch.setattr(hardware, "_cuda_started", lambda: True)
    use_expandable_segments()
    assert given() == {}
    assert not expandable()


def test_it_is_in_force_for_the_next_run_of_a_process_whose_variables_were_restored():
    use_expandable_segments()
    del os.environ[NEW]
    assert expandable()


def test_a_run_sets_it_before_torch_is_imported_and_gives_the_environment_back():
    code = (
        "import os, sys\n"
        "from anima_exp.system import hardware\n"
        "from anima_exp.distributed.process_state import borrowed\n"
        "hardware.works_here = lambda: True\n"
        "with borrowed():\n"
        "    print('torch' in sys.modules, os.environ.get('PYTORCH_ALLOC_CONF'))\n"
        "print(os.environ.get('PYTORCH_ALLOC_CONF'))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in hardware.VARIABLES}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.splitlines() == [f"False {GROWS}", "None"]
