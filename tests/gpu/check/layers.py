"""A LoRA layer, forward and backward, against its formula on a CPU in fp32: also over 8 bits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes, rounded_to_4_bits
from anima_exp.libraries.peft_internals import lora_layers, update_of
from anima_exp.model import lora_linear
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.hashed_dropout import kept_share, layer_key, token_keys
from check import dropout
from check.rows import Row, Rows
from check.timing import apart

TOKENS, WIDTH, OUT, RANK = 300, 512, 384, 16


@dataclass(frozen=True)
class Case:
    quant: str  # nf4, int8 or none
    dtype: torch.dtype
    dropout: float = 0.1
    copy: bool = False  # quant.cache_dequantized


CASES = [
    Case("none", torch.float32),
    Case("none", torch.bfloat16),
    Case("nf4", torch.bfloat16),
    Case("nf4", torch.bfloat16, dropout=0.0),
    Case("nf4", torch.bfloat16, copy=True),
    Case("nf4", torch.float16, copy=True),
    Case("int8", torch.bfloat16),
]


class One(nn.Module):
    """A model of one layer."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear(x)
        return found


def measure(rows: Rows, work: Path, device: str = "cuda") -> None:
    import_bitsandbytes()
    for case in CASES:
        rows.attempt("lora layer", vars(case), compared, case, device)


def compared(case: Case, device: str) -> Row:
    """Return how far result and gradients on `device` are from those of the formula."""
    model = _adapted(case, device)
    if case.copy:
        keep_dequantized(model)
    keys = lora_linear.install(model)
    (name, layer), *_ = lora_layers(model)
    a, b, scaling = update_of(layer, "default")
    torch.manual_seed(1)
    for one in (a, b):  # drawn by the CPU, also where the GPU computes nothing
        one.data.copy_(torch.randn(one.shape) / 10)
    cpu = torch.device("cpu")
    token = token_keys(0, 3, [0, 1], [TOKENS - 77, 77], cpu)
    keys.now = token.to(device)
    x = torch.randn(TOKENS, WIDTH).to(case.dtype)
    gradient = torch.randn(TOKENS, OUT).to(case.dtype)
    here = x.to(device).clone().requires_grad_()
    with torch.autocast(device, dtype=case.dtype, enabled=case.dtype != torch.float32):
        result = model(here)
    result.backward(gradient.to(device))

    frozen = _frozen(case)
    right = [one.detach().float().cpu().clone().requires_grad_() for one in (x, a, b)]
    seen = right[0]
    if case.dropout:
        kept = dropout.mask(torch.ones(TOKENS, WIDTH), token, layer_key(name), case.dropout)
        seen = seen * kept / kept_share(case.dropout)
    expected = right[0] @ frozen.T + scaling * (seen @ right[1].T) @ right[2].T
    expected.backward(gradient.float())
    assert here.grad is not None and a.grad is not None and b.grad is not None
    return {
        "result": apart(result, expected),
        "d_x": apart(here.grad, right[0].grad),
        "d_a": apart(a.grad, right[1].grad),
        "d_b": apart(b.grad, right[2].grad),
    }


def _weight() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(OUT, WIDTH) / WIDTH**0.5


def _frozen(case: Case) -> Tensor:
    """[out, in] of the base as the CPU rounds it, in fp32."""
    weight = _weight()
    if case.quant == "nf4":
        return rounded_to_4_bits(weight, "nf4", torch.device("cpu"), double_quant=True).float()
    if case.quant == "int8":
        largest = weight.half().float().abs().amax(dim=1, keepdim=True) / 127
        return (weight.half().float() / largest).round() * largest
    return weight.to(case.dtype).float()


def _adapted(case: Case, device: str) -> Any:
    from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
    from peft import LoraConfig, get_peft_model

    weight = _weight()
    linear: Any
    if case.quant == "nf4":
        linear = Linear4bit(WIDTH, OUT, bias=False, compute_dtype=case.dtype, quant_type="nf4")
        linear.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", module=linear)
    elif case.quant == "int8":
        linear = Linear8bitLt(WIDTH, OUT, bias=False, has_fp16_weights=False, threshold=6.0)
        linear.weight = Int8Params(weight.half(), requires_grad=False, has_fp16_weights=False)
    else:
        linear = nn.Linear(WIDTH, OUT, bias=False)
        linear.weight = nn.Parameter(weight.to(case.dtype), requires_grad=False)
    model: Any = One(linear).to(device)  # here it is quantized
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = case.quant == "nf4", case.quant == "int8"
    settings = LoraConfig(
        r=RANK, lora_alpha=RANK, lora_dropout=case.dropout, target_modules=["linear"]
    )
    return get_peft_model(model, settings).train()
