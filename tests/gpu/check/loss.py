"""The loss in chunks and its gradient, against cross-entropy in fp64 on a CPU."""

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from anima_exp.model.chunked_loss import Head, chunked_cross_entropy
from check.rows import Row, Rows
from check.timing import apart, device_seconds

CASES = [
    (700, 32_000, torch.float32),
    (700, 32_000, torch.bfloat16),
    (200, 151_936, torch.bfloat16),  # Qwen3's vocabulary
]


def measure(rows: Rows, work: Path, device: str = "cuda") -> None:
    for labels, vocabulary, dtype in CASES:
        case = {"labels": labels, "vocabulary": vocabulary, "type": dtype}
        rows.attempt("loss", case, compared, labels, vocabulary, dtype, device)
    rows.attempt("loss speed", {"labels": 3277, "vocabulary": 32_000}, _speed, device)


def compared(labels: int, vocabulary: int, dtype: torch.dtype, device: str) -> Row:
    torch.manual_seed(0)
    hidden = torch.randn(labels, 256).to(dtype)
    weight = (torch.randn(vocabulary, 256) / 16).to(dtype)
    right = torch.randint(0, vocabulary, (labels,))
    here = hidden.to(device).clone().requires_grad_()
    weights = torch.full((labels,), 1 / labels, device=device)
    loss = chunked_cross_entropy(
        here, right.to(device), weights, Head(weight.to(device), None), dtype
    )
    loss.backward()
    there = hidden.double().clone().requires_grad_()
    expected = cross_entropy(there @ weight.double().T, right)
    expected.backward()
    assert here.grad is not None and there.grad is not None
    return {
        "loss_apart": abs(loss.item() - expected.item()) / expected.item(),
        "d_hidden": apart(here.grad, there.grad),
    }


def _speed(device: str) -> Row:
    """Of 16 rows of 512 tokens at 7B, of which 0.4 are labels."""
    labels, hidden = (3277, 4096) if device == "cuda" else (32, 64)
    states = torch.randn(labels, hidden, device=device, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(32_000, hidden, device=device, dtype=torch.bfloat16)
    right = torch.randint(0, 32_000, (labels,), device=device)
    weights = torch.full((labels,), 1 / labels, device=device)

    def work() -> None:
        chunked_cross_entropy(states, right, weights, Head(weight, None), torch.bfloat16).backward()

    return {"microseconds": device_seconds(work) * 1e6}
