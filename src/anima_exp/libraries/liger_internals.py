"""The parts of liger-kernel that we use although its documentation does not promise them.

They are the same in liger-kernel 0.8; tests/contracts/test_liger.py checks them where it is
installed.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


# It warns of every kernel that cannot be imported. If it is renamed, its lines are shown again.
BACKENDS_LOGGER = "liger_kernel.backends.registry"

_ABSENT = object()
_changed: list[tuple[object, str, object]] = []  # module or class, name, what it was


def use_kernels(model: "PreTrainedModel | PeftModel") -> None:
    """Replace a model's norms, SwiGLU and rotary positions by kernels, and leave its loss as it is.

    It is `_apply_liger_kernel_to_instance`, the only function that takes a model in memory; the
    documented ones change a whole family before it is loaded. It also replaces the rotary positions
    and the classes of the model's module in transformers. `undo_kernels` takes that back.
    """
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    before = [(owner, dict(vars(owner))) for owner in _modules_and_classes()]
    _apply_liger_kernel_to_instance(
        model=model, cross_entropy=False, fused_linear_cross_entropy=False
    )
    for owner, old in before:
        new = vars(owner)
        for name in old.keys() | new.keys():
            was = old.get(name, _ABSENT)
            if new.get(name, _ABSENT) is not was:
                _changed.append((owner, name, was))


def undo_kernels() -> None:
    """Restore the modules of transformers, so that the next model is built without kernels.

    A model that has kernels keeps its norms and SwiGLU. Its rotary positions are transformers'
    again, which differ by rounding.
    """
    while _changed:
        owner, name, was = _changed.pop()
        if was is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, was)


def _modules_and_classes() -> list[Any]:
    """Return the modules of transformers that compute models, and the classes that they define."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("transformers.models.") and ".modeling_" in name
    ]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    return [*modules, *classes]
