"""The process that jobs are forked from: everything is imported, nothing is begun."""

import os
import subprocess
import sys

import pytest

LOOK = """
import sys, threading
import anima_exp.sweeping.preload
import torch
print(threading.active_count(), torch.cuda.is_initialized(), "bitsandbytes" in sys.modules)
"""


@pytest.mark.parametrize(("kind", "bitsandbytes"), [("cpu", "True"), ("gpu", "False")])
def test_no_thread_and_no_device_that_would_not_survive_a_fork(kind, bitsandbytes):
    """For GPUs bitsandbytes is left to the jobs: it asks CUDA for the device on import."""
    told = subprocess.run(
        [sys.executable, "-c", LOOK], text=True, capture_output=True, check=True,
        env=os.environ | {"ANIMA_EXP_WARM_FOR": kind, "OMP_NUM_THREADS": "2"},
    ).stdout.splitlines()  # fmt: skip
    assert told[-1] == f"1 False {bitsandbytes}"
