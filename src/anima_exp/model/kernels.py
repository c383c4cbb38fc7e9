"""liger-kernel's fused kernels -> the same decoder blocks, faster, where a GPU and they are."""

from importlib.util import find_spec
from typing import Any

from anima_exp.errors import ModelError
from anima_exp.libraries.liger_internals import use_kernels


def liger_wanted(wanted: bool | None, *, gpu: bool) -> bool:
    """Whether to use them: null means, where there are a GPU and the package.

    Raises:
        ModelError: they are asked for and cannot run here.
    """
    there = find_spec("liger_kernel") is not None
    if wanted and not gpu:
        raise ModelError("trainer.liger=true needs a GPU. Leave it at null.")
    if wanted and not there:
        raise ModelError("trainer.liger=true needs liger-kernel: pip install 'anima-exp[gpu]'.")
    return gpu and there and wanted is not False


def use_liger(model: Any) -> None:
    """Norms, SwiGLU and rotary positions each in one kernel; the loss stays ours (loss.py).

    It knows some families, and leaves others as they are.
    """
    use_kernels(model)
