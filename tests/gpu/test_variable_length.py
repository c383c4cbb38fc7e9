"""What we ask of torch's variable-length attention means what attention row by row means.

torch's kernel needs a GPU. Here `varlen_attn` is replaced by what its documentation says, with the
parameters that it has in each release of torch.
"""

import inspect
import math

import pytest
import torch

from anima_exp.libraries import torch_internals
from anima_exp.model.varlen_attention import _row_by_row

LENGTHS = (5, 9, 1, 33)
STARTS = torch.tensor([0, 5, 14, 15, 48], dtype=torch.int32)
WIDTH = 16


def documented(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window):
    """[T, heads, D] and [T, kv heads, D] -> [T, heads, D]; window (left, right), -1 = no limit."""
    assert all(one.is_contiguous() for one in (query, key, value))
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert torch.equal(cu_seq_q, cu_seq_k) and max_q == max_k == max(LENGTHS)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    groups = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(groups, dim=1).double() for one in (key, value))
    left, right = (math.inf if one == -1 else one for one in window)
    rows = []
    for begin, end in zip(cu_seq_q[:-1].tolist(), cu_seq_q[1:].tolist(), strict=True):
        q, k, v = (one[begin:end].double() for one in (query, key, value))
        behind = torch.arange(end - begin)[:, None] - torch.arange(end - begin)
        unseen = (behind > left) | (-behind > right)
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        seen = scores.masked_fill(unseen, -math.inf).softmax(-1)
        rows.append(torch.einsum("hqk,khd->qhd", seen, v))
    return torch.cat(rows).to(query.dtype)


def of_torch_2_10(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None
):
    assert query.shape[1] % key.shape[1] == 0  # it says nothing of it, and its kernel takes it
    borders = cu_seq_q, cu_seq_k, max_q, max_k
    window = (-1, 0) if is_causal else (-1, -1)
    return documented(query, key, value, *borders, scale=None, window=window)


def of_torch_2_11(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
):
    assert query.shape[1] % key.shape[1] == 0  # it says nothing of it, and its kernel takes it
    borders = cu_seq_q, cu_seq_k, max_q, max_k
    return documented(query, key, value, *borders, scale=scale, window=window_size)


def of_torch_2_12_and_2_13(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
    enable_gqa=False,
    seqused_k=None,
    block_table=None,
    num_splits=None,
):
    assert enable_gqa or query.shape[1] == key.shape[1]
    borders = cu_seq_q, cu_seq_k, max_q, max_k
    return documented(query, key, value, *borders, scale=scale, window=window_size)


RELEASES = [of_torch_2_10, of_torch_2_11, of_torch_2_12_and_2_13]


@pytest.fixture(params=RELEASES, ids=lambda release: release.__name__)
def release(request, monkeypatch):
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="torch 2.9 has none")
    monkeypatch.setattr(varlen, "varlen_attn", request.param)
    torch_internals.varlen_options.cache_clear()
    yield request.param
    torch_internals.varlen_options.cache_clear()


def apart(found, expected):
    return float((found - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)], ids=str)
def test_rows_of_different_lengths_attend_as_row_by_row(release, heads, scaling, window):
    if window and "window_size" not in inspect.signature(release).parameters:
        assert "window_size" not in torch_internals.varlen_options()
        return  # attention.py does not ask then
    torch.manual_seed(0)
    tokens = sum(LENGTHS)
    inputs = [
        torch.randn(1, count, tokens, WIDTH, requires_grad=True)
        for count in (heads[0], heads[1], heads[1])
    ]
    found = torch_internals.variable_length_attention(
        *inputs, STARTS, max(LENGTHS), scaling, window
    )
    expected = _row_by_row(*inputs, LENGTHS, scaling, 0.0, window)
    assert found.shape == expected.shape
    assert apart(found, expected) < 1e-5
    gradient = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(one, inputs, gradient) for one in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        assert apart(one, other) < 1e-5


def test_this_torchs_parameters_are_those_of_one_of_the_releases():
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="torch 2.9 has none")
    actual = inspect.signature(varlen.varlen_attn).parameters
    # What a newer release adds has a default, and is not asked for.
    needed = {name for name, one in actual.items() if one.default is inspect.Parameter.empty}
    assert needed == {"query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"}
    asked = {"is_causal", "window_size", "scale", "enable_gqa"}
    found = asked & actual.keys()
    assert found in [asked & inspect.signature(one).parameters.keys() for one in RELEASES]
