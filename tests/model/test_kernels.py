import sys
import types

import pytest
from support.small_models import small

from anima_exp.errors import ModelError
from anima_exp.events import Said, listening
from anima_exp.model import kernels


@pytest.fixture
def liger(monkeypatch):
    """A stand-in for the package: which calls it got."""
    calls = []
    package, module = types.ModuleType("liger_kernel"), types.ModuleType("liger_kernel.x")
    module._apply_liger_kernel_to_instance = lambda **how: calls.append(how)
    package.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "liger_kernel", package)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", module)
    monkeypatch.setattr(kernels, "find_spec", lambda name: package.__spec__)
    monkeypatch.setattr(kernels, "triton_problem", lambda: None)
    return calls


def test_its_kernels_are_used_where_there_is_a_gpu_and_nobody_says_no(liger):
    assert kernels.liger_wanted(None, gpu=True)
    assert kernels.liger_wanted(True, gpu=True)
    assert not kernels.liger_wanted(False, gpu=True)
    assert not kernels.liger_wanted(None, gpu=False)


def test_without_the_package_or_a_gpu_they_cannot_be_asked_for(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    assert not kernels.liger_wanted(None, gpu=True)
    with pytest.raises(ModelError, match=r"trainer\.liger=true needs a GPU"):
        kernels.liger_wanted(True, gpu=False)
    with pytest.raises(ModelError, match=r"needs liger-kernel: pip install 'anima-exp\[gpu\]'"):
        kernels.liger_wanted(True, gpu=True)


def test_without_a_compiler_for_triton_they_are_left_out_with_a_line(liger, monkeypatch):
    monkeypatch.setattr(kernels, "triton_problem", lambda: "no compiler (install one)")
    heard = []
    with listening(heard.append):
        assert not kernels.liger_wanted(None, gpu=True)
        assert not kernels.liger_wanted(False, gpu=True)
        assert not kernels.liger_wanted(None, gpu=False)
    assert heard == [
        Said("base     liger-kernel's kernels are not used: no compiler (install one)")
    ]
    with pytest.raises(ModelError) as error:
        kernels.liger_wanted(True, gpu=True)
    assert str(error.value) == (
        "trainer.liger=true needs Triton, which cannot run here: no compiler (install one). "
        "Otherwise leave trainer.liger at null."
    )


def test_the_loss_stays_ours(liger):
    model = small()
    kernels.use_liger(model)
    assert liger == [{"model": model, "cross_entropy": False, "fused_linear_cross_entropy": False}]
