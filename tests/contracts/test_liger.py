"""liger-kernel still has what libraries/liger_internals.py uses."""

import inspect

import pytest

from anima_exp.libraries.liger_internals import BACKENDS_LOGGER


def test_liger_changes_a_model_in_memory_through_one_function():
    library = pytest.importorskip("liger_kernel.transformers")
    parameters = inspect.signature(library._apply_liger_kernel_to_instance).parameters
    assert "model" in parameters
    assert any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def test_lines_of_kernels_that_are_not_installed_come_from_one_logger():
    registry = pytest.importorskip("liger_kernel.backends.registry")
    assert registry.logger.name == BACKENDS_LOGGER
