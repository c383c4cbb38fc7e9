"""Use liger-kernel's fused kernels and TF32 products on a GPU."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from anima_exp.errors import ModelError
from anima_exp.events import say
from anima_exp.libraries.liger_internals import undo_kernels, use_kernels
from anima_exp.libraries.transformers_rope import rotary_parts
from anima_exp.libraries.triton_internals import triton_problem

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def liger_wanted(wanted: bool | None, *, gpu: bool) -> bool:
    """Return whether to use liger-kernel.

    If the package is installed and Triton cannot run, one line says so.

    Args:
        wanted: trainer.liger; None = use it if a GPU, the package and Triton are usable.

    Raises:
        ModelError: if `wanted` is True and the kernels cannot run here.
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
            "Otherwise leave trainer.liger at null."
        )
    if problem:
        say(f"base     liger-kernel's kernels are not used: {problem}")
    return problem is None


def say_if_dropout_is_slow() -> None:
    """Print a line if this GPU computes dropout masks without our own kernel."""
    if problem := triton_problem():
        say(f"base     dropout takes ten kernels per layer instead of one: {problem}")


def use_liger(model: "PreTrainedModel | PeftModel") -> None:
    """Fuse norms, SwiGLU and rotary positions of `model`; the loss stays ours (chunked_loss.py).

    A model of a family that liger-kernel does not know is left as it is.
    """
    use_kernels(model)


def undo_liger() -> None:
    """Load the next models without liger's kernels, until `use_liger` is called again."""
    undo_kernels()


def use_tf32(where: torch.device) -> None:
    """Compute fp32 matrix products in TF32 on a GPU that has it, as qlora.py does.

    This is a setting of the whole process. Training and every evaluation load a base model first,
    so they compute alike.
    """
    if where.type == "cuda" and torch.cuda.get_device_capability(where)[0] >= 8:
        _set("tf32")


def keep_angles_exact(model: "PreTrainedModel | PeftModel") -> None:
    """Compute the angles of rotary positions in fp32, even if other products use TF32.

    transformers 5.17 multiplies positions by frequencies in a matrix product. TF32 has 11 bits. It
    rounds positions above 2,048, and a frequency by up to 0.05 %, which is half a radian at
    position 1,000. Others have reported the error on a B200 with several rows at once.
    """
    for part in rotary_parts(model):
        part.register_forward_pre_hook(_exact)
        part.register_forward_hook(_as_before, always_call=True)


def _exact(part: torch.nn.Module, _: object) -> None:
    part.fp32_products = torch.backends.fp32_precision  # type: ignore[attr-defined]
    _set("ieee")


def _as_before(part: Any, *_: Any) -> None:
    _set(part.fp32_products)


def _set(products: str) -> None:
    setattr(torch.backends, "fp32_precision", products)  # noqa: B010 - mypy
