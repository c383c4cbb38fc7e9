import sys
import types

import pytest
import torch
from small_models import small, some_rows

from anima_exp.data.micro_batch import concatenate, token_weights
from anima_exp.errors import ModelError
from anima_exp.model import kernels
from anima_exp.model.attention import rows_apart
from anima_exp.model.forward import loss_of


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


def test_the_loss_stays_ours(liger):
    model = small()
    kernels.use_liger(model)
    assert liger == [{"model": model, "cross_entropy": False, "fused_linear_cross_entropy": False}]


@pytest.mark.slow
def test_compiled_blocks_give_the_same_loss_and_gradients_for_other_lengths_too():
    model = small().train()
    model.requires_grad_(True)
    found = []
    for compiled in (False, True):
        if compiled:
            kernels.compile_blocks(model)
        for rows in (some_rows(), some_rows((31, 7, 12)), some_rows((20,))):
            with rows_apart(model):
                loss = loss_of(model, concatenate(rows, range(len(rows)), token_weights(rows)))
                loss.backward()
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            model.zero_grad()
            found.append((float(loss), float(norm)))
    assert found[3:] == [pytest.approx(one, rel=1e-4) for one in found[:3]]
