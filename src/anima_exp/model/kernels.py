"""liger-kernel's fused kernels -> the same decoder blocks, faster, where a GPU and they are."""

from importlib.util import find_spec
from typing import Any

from anima_exp.errors import ModelError
from anima_exp.events import say
from anima_exp.libraries.liger_internals import undo_kernels, use_kernels
from anima_exp.libraries.triton_internals import triton_problem


def liger_wanted(wanted: bool | None, *, gpu: bool) -> bool:
    """Whether to use them: null means, where a GPU, the package and Triton are usable.

    If the package is installed and Triton cannot run, one line says so.

    Raises:
        ModelError: they are requested and cannot run here.
    """
    if wanted and not gpu:
        raise ModelError("trainer.liger=true needs a GPU. Leave it at null.")
    there = find_spec("liger_kernel") is not None
    if wanted and not there:
        raise ModelError("trainer.liger=true needs liger-kernel: pip install 'anima-exp[gpu]'.")
    if not gpu or not there or wanted is False:
        return False
    problem = triton_problem()
    if problem and wanted:
        raise ModelError(
            f"trainer.liger=true needs Triton, which cannot run here: {problem}. "
            "Or leave trainer.liger at null."
        )
    if problem:
        say(f"base     liger-kernel's kernels are not used: {problem}")
    return problem is None


def say_if_dropout_is_slow() -> None:
    """One line where a GPU computes the masks of dropout without the kernel of our own."""
    if problem := triton_problem():
        say(f"base     dropout takes ten kernels a layer instead of one: {problem}")


def use_liger(model: Any) -> None:
    """Norms, SwiGLU and rotary positions each in one kernel; the loss stays ours (loss.py).

    It knows some families, and leaves others as they are.
    """
    use_kernels(model)


def undo_liger() -> None:
    """Load the next models without liger's kernels, until `use_liger` is called again."""
    undo_kernels()
