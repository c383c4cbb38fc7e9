"""What the libraries say of choices that we made knowingly is not shown."""

import logging
import warnings

import pytest
from support.processor.processor import Processor

from anima_exp.libraries.liger_internals import BACKENDS_LOGGER
from anima_exp.libraries.log_level import log_level
from anima_exp.libraries.quiet import libraries_quiet

INT8 = """
import sys
from anima_exp.libraries.quiet import quiet_libraries

quiet_libraries()
assert "bitsandbytes" not in sys.modules
import torch
from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.model.base import load_base

model = load_base(
    ModelConfig(name="tiny", source="tiny"),
    QuantConfig(type=Quantization.int8, compute_dtype=Precision.fp32, cache_quantized=False),
    precision=Precision.fp32,
)
model(input_ids=torch.tensor([[1, 17, 30]]))
"""
TINY = (
    "trainer.max_steps=1", "trainer.batch_size=2", "data.max_rows=16", "data.heldout_rows=4",
    "evals=[heldout]", "tracking=none", "run_dir=run",
)  # fmt: skip


def test_kernels_that_nobody_installed_and_views_of_a_sharded_base_are_not_spoken_of_inside():
    def view():
        warnings.warn("FSDP2-wrapped module (FSDPLlamaModel) returned a view tensor.", stacklevel=2)

    logger = logging.getLogger(BACKENDS_LOGGER)
    with log_level(BACKENDS_LOGGER, logging.WARNING):  # a command of an earlier test changes it
        _check_inside(logger, view)
    with pytest.warns(UserWarning, match="returned a view"):
        view()


def _check_inside(logger, view):
    with libraries_quiet():
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
        view()
    assert logger.isEnabledFor(logging.WARNING)


@pytest.fixture
def fast_processor(tmp_path):
    """One for which bitsandbytes has a faster kernel on a hub, and `kernels`, which loads it."""
    return Processor(tmp_path, avx512_bf16=True)


def test_a_forward_pass_in_int8_prints_nothing(fast_processor):
    done = fast_processor.run("-c", INT8)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_run_fetches_no_kernel_and_speaks_of_none(fast_processor):
    done = fast_processor.run("-m", "anima_exp.train", *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "kernel" not in done.stdout
    assert fast_processor.fetched == []


def test_the_stand_in_would_notice(fast_processor):
    done = fast_processor.run("-c", "import bitsandbytes")
    assert fast_processor.fetched == ["kernels-community/quantization-bitsandbytes"]
    assert "Failed to load CPU gemm_4bit_forward" in done.stderr


@pytest.mark.slow  # eight processes that load a model
def test_no_process_of_any_command_does(fast_processor):
    for command in (
        ["train", *TINY],
        ["train", *TINY[:-1], "trainer.num_gpus=2"],
        ["train", "-m", *TINY[:-1], "seed=1,2", "launcher.jobs=2"],
        ["train", "-m", *TINY[:-1], "seed=3", "launcher.preload=false"],
        ["evaluate", "run=run", "evals=[heldout]"],
        ["generate", "run=run", "prompt=1", "max_new_tokens=2"],
        ["merge", "run=run", "out=merged", "verify_rows=4", "max_divergence=1"],
        ["self_check", *TINY],
    ):
        done = fast_processor.run("-m", f"anima_exp.{command[0]}", *command[1:])
        assert done.returncode == 0, (command, done.stderr)
        assert "kernel" not in done.stdout + done.stderr, command
    logs = list(fast_processor.folder.glob("runs/*/log.txt"))
    assert len(logs) == 3
    assert [log for log in logs if "kernel" in log.read_text()] == []
    assert fast_processor.fetched == []
