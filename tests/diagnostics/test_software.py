"""What torch, bitsandbytes and GPUs can do becomes findings with a way out."""

import subprocess
import sys

import pytest

from anima_exp.diagnostics import software
from anima_exp.diagnostics.findings import Level

TORCH = {
    "version": "2.13.0", "cuda_build": None, "hip_build": None, "threads": 4, "cpu": "AVX2",
    "cpu_bf16": False,
}  # fmt: skip
BNB = {"version": "0.50.2", "library": "libbitsandbytes_cpu.so", "avx512_bf16": False}
GPU = {
    "name": "NVIDIA A100", "free_gib": 70.0, "total_gib": 80.0, "capability": "8.0", "bf16": True,
}  # fmt: skip


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(software.hardware, "gpus", lambda: [])
    monkeypatch.setattr(software, "driver_version", lambda: None)


def found(**parts):
    whole = {
        "torch": TORCH,
        "gpus": {"count": 0, "problem": None},
        "bitsandbytes": BNB,
        "layer": {"device": "cpu"},
    }
    return {one.name: one for one in software.libraries(whole | parts)}


def test_a_processor_alone_is_enough(no_gpu):
    findings = found()
    assert findings["torch"].value == "2.13.0, built for CPUs only"
    assert findings["GPU"].value == "none"
    assert {one.level for one in findings.values()} == {Level.ok, Level.info}
    assert "no bf16 instructions" in findings["processor"].value
    assert "trainer.precision=fp32" in findings["processor"].advice


def test_bitsandbytes_says_which_path_it_takes_on_this_processor(no_gpu):
    assert "AVX512" not in found()["bitsandbytes"].value
    value = found(bitsandbytes=BNB | {"avx512_bf16": True})["bitsandbytes"].value
    assert "its AVX512-BF16 kernel stays off in training" in value


def test_gpus_are_listed_with_free_memory_and_bf16(monkeypatch):
    monkeypatch.setattr(software, "driver_version", lambda: "570.12")
    old = GPU | {"name": "Tesla T4", "capability": "7.5", "bf16": False}
    findings = found(
        torch=TORCH | {"cuda_build": "12.8"},
        gpus={"count": 2, "gpus": [GPU, old], "triton": None},
        layer={"device": "cuda"},
    )
    assert findings["GPU 0"].value == (
        "NVIDIA A100, 70.0 of 80.0 GiB free, compute capability 8.0, bf16"
    )
    assert findings["GPU 1"].level is Level.warning
    assert findings["driver"].value == "570.12"


@pytest.mark.parametrize(
    ("parts", "name", "told"),
    [
        ({"torch": {"error": "ImportError: libc"}}, "torch", "ImportError: libc"),
        ({"error": "crashed with signal 4"}, "torch", "crashed with signal 4"),
        ({"bitsandbytes": {"error": "no library"}}, "bitsandbytes", "no library"),
        ({"layer": {"error": "no gradient"}}, "bitsandbytes", "no gradient"),
    ],
)
def test_what_a_run_needs_and_does_not_work_is_broken(no_gpu, parts, name, told):
    one = found(**parts)[name]
    assert one.level is Level.broken
    assert told in one.value
    assert one.advice


def test_a_gpu_that_torch_cannot_use_is_a_warning(monkeypatch):
    monkeypatch.setattr(software, "driver_version", lambda: "470.1")
    one = found()["GPU"]
    assert (one.level, "torch was built for CPUs only" in one.value) == (Level.warning, True)
    problem = {"count": 0, "problem": "The NVIDIA driver on your system is too old"}
    one = found(torch=TORCH | {"cuda_build": "13.0"}, gpus=problem)["GPU"]
    assert one.value == problem["problem"]
    assert "the driver is 470.1" in one.advice


def test_a_missing_package_is_broken_and_an_untested_version_a_warning(monkeypatch):
    here = {"torch": "2.13.0", "peft": "0.1"}

    def version(name):
        if name not in here:
            raise software.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(software, "version", version)
    findings = {
        one.name: one
        for text in ("torch>=2.9", "peft>=0.19,<1", "rich>=14")
        for one in software._package(text)
    }
    assert "torch" not in findings  # the probe says more of it
    assert findings["peft"].level is Level.warning
    assert findings["rich"].level is Level.broken
    assert findings["rich"].advice == 'Install it: pip install "rich>=14"'


def test_a_probe_that_crashes_or_hangs_is_a_finding(monkeypatch):
    monkeypatch.setattr(software, "_PROBE", "anima_exp.no_such_module")
    assert "No module named" in software.probe()["error"]
    run = subprocess.run

    def killed(*_, **kw):
        return run([sys.executable, "-c", "import os; os.kill(os.getpid(), 4)"], **kw)

    monkeypatch.setattr(subprocess, "run", killed)
    assert "crashed with signal 4" in software.probe()["error"]

    def hangs(*_, **kw):
        raise subprocess.TimeoutExpired("python", kw["timeout"])

    monkeypatch.setattr(subprocess, "run", hangs)
    assert "longer than 2 s" in software.probe(2)["error"]
