"""The loss of the labels, chunk by chunk, against torch's cross-entropy over all logits."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anima_exp.model import chunked_loss as module
from anima_exp.model.chunked_loss import Head, chunked_cross_entropy

LABELS, VOCABULARY, WIDTH = 50, 301, 24


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation._opname)
        return operation(*args, **(kwargs or {}))


def inputs(dtype=torch.float32, **more):
    torch.manual_seed(0)
    head = Head(torch.randn(VOCABULARY, WIDTH), torch.randn(VOCABULARY), **more)
    hidden = torch.randn(LABELS, WIDTH).to(dtype).requires_grad_()
    return hidden, torch.randint(VOCABULARY, (LABELS,)), torch.rand(LABELS) / LABELS, head


def all_logits(hidden, labels, weights, head):
    logits = (hidden @ head.weight.T + head.bias) * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    return (each * weights).sum()


@pytest.mark.parametrize("rows_a_chunk", [1, 7, 50])
@pytest.mark.parametrize("more", [{}, {"scale": 0.5, "softcap": 3.0}], ids=["plain", "softcap"])
def test_chunks_of_any_size_have_the_loss_and_gradient_of_all_logits(
    monkeypatch, rows_a_chunk, more
):
    monkeypatch.setattr(module, "chunk_logits", lambda *, gpu: VOCABULARY * rows_a_chunk)
    hidden, labels, weights, head = inputs(**more)
    expected = all_logits(hidden, labels, weights, head)
    with Operations() as operations:
        found = chunked_cross_entropy(hidden, labels, weights, head, torch.float32)
    assert operations.names.count("mm") == 2 * -(-LABELS // rows_a_chunk)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    ours, theirs = (torch.autograd.grad(one, hidden)[0] for one in (found, expected))
    assert torch.allclose(ours, theirs, atol=1e-8, rtol=1e-4)


def test_a_chunk_on_a_cpu_has_16_million_logits_and_on_a_gpu_67_million():
    assert module.chunk_logits(gpu=False) == 2**24
    assert module.chunk_logits(gpu=True) == 2**26


def test_a_factor_beyond_fp16_reaches_the_gradient_in_one_operation():
    hidden, labels, weights, head = inputs(torch.float16)
    scale = 2.0**17  # GradScaler may double its 65,536; the largest fp16 is 65,504
    exact = inputs()[0]
    loss = all_logits(exact, labels, weights / 100, head) * scale
    expected = torch.autograd.grad(loss, exact)[0]
    loss = chunked_cross_entropy(hidden, labels, weights / 100, head, torch.float16) * scale
    with Operations() as operations:
        found = torch.autograd.grad(loss, hidden)[0]
    assert found.isfinite().all()
    assert (found.float() - expected).norm() < 5e-3 * expected.norm()
    assert "_to_copy" not in operations.names
