"""What is computed on a GPU against the same computed on the CPU. Run with -m gpu."""

import pytest
import torch

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes, rounded_to_4_bits
from anima_exp.model import hashed_dropout
from anima_exp.model.chunked_loss import Head, chunked_cross_entropy
from anima_exp.model.dequantized_weights import add_input_gradient
from anima_exp.model.varlen_attention import _row_by_row, _varlen_takes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
LENGTHS = (5, 130, 64, 1, 300)
ROUNDING = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def apart(found, expected):
    expected = expected.detach().double().cpu()
    return ((found.detach().double().cpu() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [False, True])
def test_a_weight_is_packed_as_on_a_cpu(kind, double):
    weight = torch.randn(512, 1024, generator=torch.manual_seed(0))
    found, expected = (
        rounded_to_4_bits(weight.clone(), kind, where, double_quant=double) for where in (GPU, CPU)
    )
    # A weight half-way between two levels may go to either, and constants differ by rounding.
    assert ((found - expected).abs() > 1e-2 * expected.abs()).float().mean() < 1e-3
    assert apart(found, expected) < 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [688, 689, 4096])
def test_the_mask_of_dropout_is_that_of_a_cpu_bit_for_bit(dtype, width):
    x = torch.randn(77, width, generator=torch.manual_seed(0)).to(dtype)
    keys = hashed_dropout.token_keys(0, 3, [0, 1], [70, 7], CPU)
    expected = hashed_dropout.Mask(keys, 12345, 0.1).of(x)
    mask, on_gpu, also = hashed_dropout.Mask(keys.to(GPU), 12345, 0.1), x.to(GPU), x.to(GPU)
    assert torch.equal(mask.of(on_gpu).cpu(), expected)
    assert torch.equal(mask.of(on_gpu, also=also).cpu(), expected)
    assert torch.equal(also.cpu(), expected) and torch.equal(on_gpu.cpu(), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "window", "scaling"),
    [
        (8, 8, 128, None, None),
        (8, 2, 128, None, None),
        (8, 1, 64, 33, 0.2),
        (8, 8, 80, None, None),
    ],
)
def test_attention_over_rows_of_different_lengths_is_that_row_by_row(
    dtype, heads, kv_heads, width, window, scaling
):
    from anima_exp.libraries.torch_internals import variable_length_attention

    torch.manual_seed(0)
    exact = [
        torch.randn(1, count, sum(LENGTHS), width, device=GPU).to(dtype).double()
        for count in (heads, kv_heads, kv_heads)
    ]
    inputs = [one.to(dtype).requires_grad_() for one in exact]
    exact = [one.requires_grad_() for one in exact]
    if not _varlen_takes(inputs[0], inputs[2], window):
        pytest.skip("no variable-length FlashAttention for this on this GPU or in this torch")
    borders = torch.tensor([0, *LENGTHS], device=GPU).cumsum(0, dtype=torch.int32)
    found = variable_length_attention(*inputs, borders, max(LENGTHS), scaling, window)
    expected = _row_by_row(*exact, LENGTHS, scaling, 0.0, window)
    assert apart(found, expected) < ROUNDING[dtype]
    gradient = torch.randn_like(expected)
    ours = torch.autograd.grad(found, inputs, gradient.to(dtype))
    theirs = torch.autograd.grad(expected, exact, gradient)
    for one, other in zip(ours, theirs, strict=True):
        assert apart(one, other) < 2 * ROUNDING[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_loss_and_gradient_are_those_of_all_logits(dtype):
    torch.manual_seed(0)
    weight = (torch.randn(32_000, 256) / 16).to(dtype).to(GPU)
    hidden = torch.randn(3000, 256).to(dtype).to(GPU).requires_grad_()  # two chunks
    labels, weights = torch.randint(32_000, (3000,), device=GPU), torch.rand(3000, device=GPU)
    found = chunked_cross_entropy(hidden, labels, weights, Head(weight, None), dtype)
    exact = hidden.detach().double().requires_grad_()
    each = torch.nn.functional.cross_entropy(exact @ weight.double().T, labels, reduction="none")
    expected = (each * weights).sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = (torch.autograd.grad(*one)[0] for one in ((found, hidden), (expected, exact)))
    assert apart(ours, theirs) < (2e-3 if dtype is torch.float32 else ROUNDING[dtype])  # TF32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_gradient_through_integers_is_that_of_their_weights(dtype):
    import_bitsandbytes()
    from bitsandbytes.nn import Linear8bitLt

    torch.manual_seed(0)
    layer = Linear8bitLt(512, 768, bias=False, has_fp16_weights=False)
    layer.weight.data = torch.randn(768, 512)
    layer = layer.to(GPU)
    integers, maxima = layer.weight.CB, layer.weight.SCB
    exact = integers.double() * (maxima.double() / 127)[:, None]
    d_x, d_out = torch.randn(64, 512, device=GPU).to(dtype), torch.randn(64, 768, device=GPU)
    d_out = d_out.to(dtype)
    expected = d_x.double() + d_out.double() @ exact
    assert apart(add_input_gradient(d_x, d_out, layer), expected) < ROUNDING[dtype]
