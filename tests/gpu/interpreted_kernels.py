"""Run Triton's kernels in its interpreter, on the CPU, and compare what they compute.

    TRITON_INTERPRET=1 python tests/gpu/interpreted_kernels.py dropout | liger

test_triton_kernels.py runs it, in a process of its own: whether a kernel is interpreted is decided
when triton is imported. It prints a line of JSON for each comparison.
"""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

SHARES = (0.0, 0.05, 0.3, 0.9)
# Even and odd, narrower and wider than the 2,048 columns of one program.
WIDTHS = (1, 2, 63, 64, 2048, 2049)
TOKENS = 5


def dropout() -> Iterator[dict[str, Any]]:
    """Our kernel against the mask of a CPU, bit for bit."""
    from anima_exp.model.dropout_kernel import drop
    from anima_exp.model.hashed_dropout import RESOLUTION, Mask, layer_key, token_keys

    keys = token_keys(0, 3, [0, 1], [2, TOKENS - 2], torch.device("cpu"))
    dtypes = (torch.bfloat16, torch.float16, torch.float32)
    layer = layer_key("down")
    for dtype, width, share in itertools.product(dtypes, WIDTHS, SHARES):
        torch.manual_seed(0)
        x = torch.randn(TOKENS, width).to(dtype)
        x[0, 0], x[1, -1] = -0.0, torch.inf
        threshold = round(share * RESOLUTION)
        expected = Mask(keys, layer, share).of(x)
        given, also = x.clone(), x.clone()
        copy = drop(x, keys, layer, threshold)
        both = drop(x, keys, layer, threshold, also)
        yield {
            "case": f"{dtype} {width} {share}",
            "dropped": int((expected != given).sum()),
            "equal": same_bits(copy, expected),
            "equal in place": same_bits(both, expected) and same_bits(also, expected),
            "input unchanged": same_bits(x, given),
        }


def same_bits(a: Tensor, b: Tensor) -> bool:
    integers = torch.int16 if a.element_size() == 2 else torch.int32
    return torch.equal(a.view(integers), b.view(integers))


def liger() -> Iterator[dict[str, Any]]:
    """Liger's kernels against the formulas that they stand for, in fp32."""
    _convert_floats()
    from liger_kernel.ops.rope import LigerRopeFunction
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    def rotary(*query_and_key: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = LigerRopeFunction.apply(*query_and_key, cos, sin)
        return result

    def plain_rotary(*query_and_key: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = apply_rotary_pos_emb(*query_and_key, cos, sin)
        return result

    torch.manual_seed(0)
    angles = torch.arange(6)[:, None] * torch.rand(8)
    cos, sin = (torch.cat([one(angles)] * 2, -1)[None] for one in (torch.cos, torch.sin))
    halves = [torch.randn(2, 5, 64) for _ in range(2)]
    yield {
        "case": "SwiGLU",
        "apart": largest_difference(
            lambda gate, up: (LigerSiLUMulFunction.apply(gate, up),),
            lambda gate, up: (torch.nn.functional.silu(gate) * up,),
            halves,
        ),
    }
    heads = [torch.randn(1, count, 6, 16) for count in (4, 2)]
    yield {"case": "rotary", "apart": largest_difference(rotary, plain_rotary, heads)}


def largest_difference(
    ours: Callable[..., tuple[Tensor, ...]],
    theirs: Callable[..., tuple[Tensor, ...]],
    inputs: list[Tensor],
) -> float:
    """Of results and gradients, relative to their length. Liger's kernels may overwrite inputs."""
    found = []
    for function in (ours, theirs):
        leaves = [one.clone().requires_grad_() for one in inputs]
        results = function(*(one * 1.0 for one in leaves))
        torch.manual_seed(1)
        gradients = [torch.randn(one.shape) for one in results]
        values = [one.detach().clone() for one in results]
        torch.autograd.backward(results, gradients)
        found.append([*values, *(one.grad for one in leaves)])
    return max(float((a - b).norm() / b.norm()) for a, b in zip(*found, strict=True))


def _convert_floats() -> None:
    """Let the interpreter make a tensor of a float, as the compiler does: Liger converts one."""
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._implicit_cvt

    def with_floats(argument: Any) -> Any:
        if isinstance(argument, float):
            values = np.array([argument], dtype=np.float32)
            return tl.tensor(interpreter.TensorHandle(values, tl.float32), tl.float32)
        return convert(argument)

    interpreter._implicit_cvt = with_floats


if __name__ == "__main__":
    for line in {"dropout": dropout, "liger": liger}[sys.argv[1]]():
        print(json.dumps(line))
