"""On a GPU: rows of all lengths need no preparation, and are what each would be alone."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import varlen

from anima_exp.config import Precision
from anima_exp.libraries import torch_internals
from anima_exp.model import generation, varlen_attention

cudnn = torch.backends.cuda.cudnn_sdp_enabled
GPU, CPU = torch.device("cuda"), torch.device("cpu")


def model_on(device):
    return SimpleNamespace(
        device=device, training=False, eval=lambda: None, train=lambda mode: None,
        named_modules=list,
        config=SimpleNamespace(get_text_config=lambda: SimpleNamespace()),
    )  # fmt: skip


@pytest.fixture
def any_device(monkeypatch):
    """Without CUDA torch would warn of an autocast for it."""
    monkeypatch.setattr(generation, "autocast", lambda where, precision: torch.autocast("cpu"))
    monkeypatch.setattr(varlen_attention, "supports_packing", lambda model: False)
    assert cudnn()


def test_answers_and_evaluations_on_a_gpu_build_no_cudnn_plans(any_device):
    with generation.inference_mode(model_on(GPU), Precision.fp32):
        assert not cudnn()
    assert cudnn()


def test_nor_does_training(any_device):
    with pytest.raises(ZeroDivisionError), varlen_attention.packed_attention(model_on(GPU)):
        assert not cudnn()
        raise ZeroDivisionError
    assert cudnn()


def test_other_devices_and_a_choice_made_before_are_left_alone(any_device):
    with generation.inference_mode(model_on(CPU), Precision.fp32):
        assert cudnn()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        with varlen_attention.packed_attention(model_on(GPU)):
            assert not cudnn()
        assert not cudnn()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


def by_its_documentation(query, key, value, starts, window, scale):
    """What torch says that `varlen_attn` computes: [T, heads, D], and fewer heads of the others."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    found = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        q, k, v = (x[begin:end] for x in (query, key, value))
        shares = torch.einsum("qhd,khd->hqk", q, k) * (scale or q.shape[-1] ** -0.5)
        behind = torch.arange(end - begin)[:, None] - torch.arange(end - begin)
        unseen = (behind < -window[1]) if window[1] >= 0 else torch.zeros_like(behind).bool()
        if window[0] >= 0:
            unseen |= behind > window[0]
        found.append(
            torch.einsum("hqk,khd->qhd", shares.masked_fill(unseen, -torch.inf).softmax(-1), v)
        )
    return torch.cat(found)


def of_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    return by_its_documentation(query, key, value, cu_seq_q, (-1, 0 if is_causal else -1), None)


def of_2_11(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1)
):
    return by_its_documentation(query, key, value, cu_seq_q, window_size, scale)


def of_2_12(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1),
    enable_gqa=False,
):  # fmt: skip
    assert enable_gqa or query.shape[1] == key.shape[1]
    return by_its_documentation(query, key, value, cu_seq_q, window_size, scale)


@pytest.mark.parametrize("release", [of_2_10, of_2_11, of_2_12])
@pytest.mark.parametrize(
    ("kv", "window", "scaling"), [(4, None, None), (2, None, 0.3), (1, 3, 0.2)]
)
def test_each_release_of_torch_computes_rows_as_if_alone_and_repeats_no_keys(
    monkeypatch, release, kv, window, scaling
):
    if window and release is of_2_10:
        pytest.skip("it knows no window, and attention.py asks for none")
    heads_of_keys = []

    def recorded(query, key, value, *more, **how):
        heads_of_keys.append((key.shape[1], value.shape[1]))
        return release(query, key, value, *more, **how)

    recorded.__wrapped__ = release  # for its signature
    monkeypatch.setattr(varlen, "varlen_attn", recorded)
    torch_internals.varlen_options.cache_clear()
    lengths = (5, 9, 1)
    starts = torch.tensor([0, 5, 14, 15], dtype=torch.int32)
    drawn = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, sum(lengths), 8, generator=drawn).requires_grad_()
        for heads in (4, kv, kv)
    )
    expected = varlen_attention._row_by_row(query, key, value, lengths, scaling, 0.0, window)
    found = torch_internals.variable_length_attention(
        query, key, value, starts, max(lengths), scaling, window
    )
    torch_internals.varlen_options.cache_clear()
    assert heads_of_keys == [(kv, kv)]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn(found.shape, generator=drawn)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), (query, key, value)),
        torch.autograd.grad((expected * weights).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("release", "repeats"),
    [("2.9.1", True), ("2.10.0", False), ("2.11.0+cu130", False), ("3.0.0a0+git1", False)],
)
def test_keys_are_repeated_only_by_a_torch_without_that_kernel(monkeypatch, release, repeats):
    monkeypatch.setattr(torch_internals, "version", lambda package: release)
    assert torch_internals.repeats_kv_heads() is repeats


def test_an_old_torch_says_that_it_computes_rows_one_by_one_on_a_gpu(monkeypatch):
    assert varlen_attention.slow_attention(GPU) is None
    monkeypatch.setattr(varlen_attention, "varlen_options", frozenset)
    assert varlen_attention.slow_attention(CPU) is None
    assert varlen_attention.slow_attention(GPU) == (
        "this torch has no attention over rows of different lengths, so rows are computed one by "
        "one: torch>=2.10 is faster"
    )
