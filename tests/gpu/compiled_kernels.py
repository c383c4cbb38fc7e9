"""Compile our Triton kernels for GPUs that this machine does not have.

    python tests/gpu/compiled_kernels.py

It prints a line of JSON for each GPU. Triton brings the assembler, and needs no driver.
"""

import json

import triton
from triton.backends.compiler import GPUTarget

from anima_exp.model import dropout_kernel
from anima_exp.model.constants import COLUMN, FIRST, SECOND

# Turing, Ampere, Ada, Hopper, Blackwell of servers and of desktops.
CAPABILITIES = (75, 80, 89, 90, 100, 120)


def compiled_dropout(capability: int, kind: str, *, also: bool) -> int:
    """Return the bytes of the kernel's machine code, for one tensor or for two."""
    pairs = dropout_kernel._PAIRS
    source = triton.compiler.ASTSource(
        fn=dropout_kernel._drop,
        signature={
            "x": f"*{kind}",
            "keys": "*i32",
            "out": f"*{kind}",
            "also": f"*{kind}",
            "width": "i32",
            "layer": "i32",
            "least": "i32",
            "ALSO": "constexpr",
            "COLUMN": "constexpr",
            "FIRST": "constexpr",
            "SECOND": "constexpr",
            "PAIRS": "constexpr",
        },
        constexprs={
            "ALSO": also,
            "COLUMN": COLUMN,
            "FIRST": FIRST,
            "SECOND": SECOND,
            "PAIRS": pairs,
        },
    )
    return len(triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"])


if __name__ == "__main__":
    for capability in CAPABILITIES:
        kind = "fp16" if capability < 80 else "bf16"
        code = min(compiled_dropout(capability, kind, also=one) for one in (False, True))
        print(json.dumps({"case": str(capability), "bytes": code}))
