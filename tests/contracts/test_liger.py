"""liger-kernel still has what libraries/liger_internals.py uses."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from anima_exp.libraries.liger_internals import BACKENDS_LOGGER, undo_kernels, use_kernels

pytestmark = pytest.mark.skipif(
    find_spec("liger_kernel") is None, reason="pip install 'anima-exp[gpu]'"
)


def source(name):
    """Read a module of liger, whose import takes ten seconds."""
    found = find_spec("liger_kernel")
    return ast.parse((Path(found.origin).parent / name).read_text(encoding="utf-8"))


def test_liger_changes_a_model_in_memory_through_one_function():
    functions = [one for one in source("transformers/monkey_patch.py").body
                 if isinstance(one, ast.FunctionDef)]  # fmt: skip
    (function,) = (one for one in functions if one.name == "_apply_liger_kernel_to_instance")
    assert [one.arg for one in function.args.args] == ["model"]
    assert function.args.kwarg is not None


def test_lines_of_kernels_that_are_not_installed_come_from_one_logger():
    assert BACKENDS_LOGGER == "liger_kernel.backends.registry"  # the module's name
    statements = [ast.unparse(one) for one in source("backends/registry.py").body]
    assert "logger = logging.getLogger(__name__)" in statements


@pytest.mark.slow
def test_a_model_that_is_built_after_one_with_kernels_has_none():
    """Norms and SwiGLU are classes of transformers' module, rotary positions a function of it."""
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
