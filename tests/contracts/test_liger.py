"""liger-kernel still has what libraries/liger_internals.py uses."""

import inspect

import pytest

from anima_exp.libraries.liger_internals import BACKENDS_LOGGER, undo_kernels, use_kernels


def test_liger_changes_a_model_in_memory_through_one_function():
    library = pytest.importorskip("liger_kernel.transformers")
    parameters = inspect.signature(library._apply_liger_kernel_to_instance).parameters
    assert "model" in parameters
    assert any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())


def test_lines_of_kernels_that_are_not_installed_come_from_one_logger():
    registry = pytest.importorskip("liger_kernel.backends.registry")
    assert registry.logger.name == BACKENDS_LOGGER


def test_a_model_that_is_built_after_one_with_kernels_has_none():
    """Norms and SwiGLU are classes of transformers' module, rotary positions a function of it."""
    pytest.importorskip("liger_kernel.transformers")
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama import modeling_llama

    names = ("LlamaRMSNorm", "LlamaMLP", "apply_rotary_pos_emb")
    own = [getattr(modeling_llama, name) for name in names]
    shape = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    with_kernels = LlamaForCausalLM(shape)
    try:
        use_kernels(with_kernels)
        assert all(getattr(modeling_llama, name) is not one
                   for name, one in zip(names, own, strict=True))  # fmt: skip
    finally:
        undo_kernels()
    assert [getattr(modeling_llama, name) for name in names] == own
    assert "Liger" in repr(with_kernels.model.norm)
    assert "Liger" not in repr(LlamaForCausalLM(shape))
