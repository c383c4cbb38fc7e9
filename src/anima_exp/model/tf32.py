"""Products of fp32 numbers as TF32 on a GPU, but for those that need all digits."""

from typing import Any

import torch

from anima_exp.libraries.transformers_internals import rotary_parts


def use_tf32(where: torch.device) -> None:
    """Let products of fp32 numbers be TF32 on a GPU that has it, as qlora.py does.

    A setting of the process: training and every evaluation compute alike, since each of them
    loads a base first.
    """
    if where.type == "cuda" and torch.cuda.get_device_capability(where)[0] >= 8:
        _set("tf32")


def keep_angles_exact(model: Any) -> None:
    """Let `model` compute the angles of rotary positions in fp32, whatever other products are.

    transformers 5.17 multiplies positions by frequencies in a matrix product. TF32 has 11 bits: it
    rounds positions above 2,048, and a frequency by up to 0.05 %, which is half a radian at
    position 1,000. Others saw it on a B200 with several rows at once.
    """
    for part in rotary_parts(model):
        part.register_forward_pre_hook(_exact)
        part.register_forward_hook(_as_before, always_call=True)


def _exact(part: Any, _: Any) -> None:
    part.fp32_products = torch.backends.fp32_precision  # type: ignore[attr-defined]
    _set("ieee")


def _as_before(part: Any, *_: Any) -> None:
    _set(part.fp32_products)


def _set(products: str) -> None:
    setattr(torch.backends, "fp32_precision", products)  # noqa: B010 - mypy
