"""Try torch and bitsandbytes in a process of its own, and print what they can do as JSON.

`anima-exp doctor` starts it. A library that crashes, or hangs as it looks for a GPU, ends or
delays this process alone.
"""

import json
import logging
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from anima_exp.errors import first_line

_WIDTH = 64  # of the layer that is tried: one block of 64 weights a row


def main() -> None:
    """Print one JSON object. A part that fails has an entry `error`."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "torch": _torch,
        "gpus": _gpus,
        "bitsandbytes": _bitsandbytes,
        "layer": _layer,
    }
    for name, look in parts.items():
        try:
            result[name] = look()
        except Exception as error:  # a broken library may raise any
            result[name] = {"error": f"{type(error).__name__}: {first_line(error)}"}
        if "torch" in result and "error" in result["torch"]:
            break
    sys.stdout.write(json.dumps(result) + "\n")


def _torch() -> dict[str, Any]:
    import torch

    from anima_exp.libraries.torch_internals import processor_has_bf16

    return {
        "version": torch.__version__,
        "cuda_build": torch.version.cuda,
        "hip_build": torch.version.hip,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cpu_bf16": processor_has_bf16(),
    }


def _gpus() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {"count": 0, "problem": _why_no_gpu()}
    gpus = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        major, minor = torch.cuda.get_device_capability(number)
        gpus.append(
            {
                "name": torch.cuda.get_device_name(number),
                "free_gib": free / 2**30,
                "total_gib": total / 2**30,
                "capability": f"{major}.{minor}",
                "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
            }
        )
    return {"count": len(gpus), "gpus": gpus, "triton": _triton()}


def _why_no_gpu() -> str | None:
    """Return what torch says of a GPU that it cannot use; None if its build uses no GPU."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return None
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        return first_line(error)
    return None


def _triton() -> str | None:
    from anima_exp.libraries.triton_internals import triton_problem

    return triton_problem()


def _bitsandbytes() -> dict[str, Any]:
    from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes, native_library

    import_bitsandbytes()
    import bitsandbytes

    library, avx512_bf16 = native_library()
    return {"version": bitsandbytes.__version__, "library": library, "avx512_bf16": avx512_bf16}


def _layer() -> dict[str, Any]:
    """Compute one 4-bit layer forward and backward, as every step of training does."""
    import torch

    from anima_exp.libraries.bitsandbytes_internals import keep_cpu_4bit_trainable

    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = torch.bfloat16 if where.type == "cuda" else torch.float32
    kind: Any = import_module("bitsandbytes.nn").LinearNF4
    layer = kind(_WIDTH, _WIDTH, bias=False, compute_dtype=precision)
    keep_cpu_4bit_trainable(layer)
    layer = layer.to(where)
    x = torch.ones(2, _WIDTH, device=where, dtype=precision, requires_grad=True)
    layer(x).sum().backward()
    if x.grad is None or not bool(torch.isfinite(x.grad).all()):
        return {"error": "the gradient of a 4-bit layer is not finite"}
    return {"device": where.type}


if __name__ == "__main__":
    main()
