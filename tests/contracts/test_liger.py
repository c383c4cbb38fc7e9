"""liger-kernel still has what libraries/liger_internals.py uses."""

import inspect

import pytest


def test_liger_changes_a_model_in_memory_through_one_function():
    library = pytest.importorskip("liger_kernel.transformers")
    parameters = inspect.signature(library._apply_liger_kernel_to_instance).parameters
    assert "model" in parameters
    assert any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
