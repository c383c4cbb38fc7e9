"""The parts of liger-kernel that we use although its documentation does not promise them.

They are the same in liger-kernel 0.8; tests/contracts/test_liger.py checks them where it is
installed.
"""

from typing import Any

# It warns of every kernel that cannot be imported. If it is renamed, its lines are shown again.
BACKENDS_LOGGER = "liger_kernel.backends.registry"


def use_kernels(model: Any) -> None:
    """Replace a model's norms, SwiGLU and rotary positions by kernels, and leave its loss as it is.

    It is `_apply_liger_kernel_to_instance`, the only function that takes a model in memory; the
    documented ones change a whole family before it is loaded.
    """
    from liger_kernel.transformers import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        _apply_liger_kernel_to_instance,
    )

    _apply_liger_kernel_to_instance(
        model=model, cross_entropy=False, fused_linear_cross_entropy=False
    )
