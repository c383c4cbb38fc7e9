"""What a process keeps of the memory of a CPU."""

import os
import subprocess
import sys

import pytest

from anima_exp.config import ActivationCheckpointing
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.memory import MemoryModel, Rows
from anima_exp.system.hardware import KEPT_KERNELS, KERNEL_BYTES, bound_kernel_caches

# A processor that computes bf16 compiles a kernel for each shape; others keep nothing.
SHAPES = """
import psutil, torch
from anima_exp.system.hardware import bound_kernel_caches

bound_kernel_caches()
left, right = (torch.zeros(rows, 256, dtype=torch.bfloat16) for rows in (600, 256))
left @ right
before = psutil.Process().memory_info().rss
for rows in range(200, 600):
    left[:rows] @ right
print(psutil.Process().memory_info().rss - before)
"""
CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY")


def test_products_of_ever_new_shapes_keep_no_more_than_is_planned():
    environment = {name: value for name, value in os.environ.items() if name not in CACHES}
    done = subprocess.run(
        [sys.executable, "-c", SHAPES], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 2 * KEPT_KERNELS * KERNEL_BYTES  # unbounded 400 kernels: 270 MB


def test_what_the_user_has_set_of_the_caches_is_left_alone(monkeypatch):
    def after(**given):
        for name in CACHES:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        bound_kernel_caches()
        return {name: os.environ[name] for name in CACHES if name in os.environ}

    kept = str(KEPT_KERNELS)
    lru, onednn, older = CACHES
    assert after() == {lru: kept, onednn: kept}
    assert after(**{lru: "7", onednn: "8"}) == {lru: "7", onednn: "8"}
    assert after(**{older: "9"}) == {lru: kept, older: "9"}


@pytest.mark.parametrize(
    ("precision", "gpu", "planned"),
    [
        ("bf16", False, 2 * KEPT_KERNELS * KERNEL_BYTES),
        ("bf16", True, 0),
        ("fp32", False, 0),
    ],
)
def test_a_plan_for_a_cpu_counts_the_kernels_that_are_kept(compose, precision, gpu, planned):
    config = compose(f"trainer.precision={precision}")
    needs = MemoryModel(find_shape(config.model), config, Rows(100, 400, 200), gpu=gpu)
    memory = needs.memory(400, ActivationCheckpointing.none, keep_dequantized=True)
    assert memory.kernels == planned
    assert memory.peak == memory.static + memory.dynamic + memory.buffer + planned
