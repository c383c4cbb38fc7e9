"""The parts of torch that we use although its documentation does not promise them.

They were read in torch 2.9 to 2.13. Each function says what it uses and what a change of it would
break; tests/contracts/test_torch.py checks those that need no GPU.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

# Names of operations that take many steps a byte of their result, which selective activation
# checkpointing keeps. A product by another name is computed twice. ATTENTIONS are beginnings.
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_varlen_attn")
ATTENTIONS = ("_scaled_dot_product", "_flash_attention")


def operation_name(operation: object) -> str:
    """Return what PRODUCTS and ATTENTIONS are matched with: `OpOverload._opname`.

    If it is gone, selective checkpointing keeps nothing, and costs as much as a full one.
    """
    return str(getattr(operation, "_opname", ""))


def says_changed_in_place(error: RuntimeError) -> bool:
    """Return whether selective checkpointing met a kept result that changed in place later."""
    return "has been mutated" in str(error)


def says_weights_only(error: Exception) -> bool:
    """Return whether `torch.load` refused a file that holds more than weights."""
    return "weights_only" in str(error)


def processor_has_bf16() -> bool | None:
    """Return whether oneDNN multiplies in bf16 on this processor; None if torch does not say.

    It is an operation of `torch.ops.mkldnn`, on which one line of advice depends.
    """
    import torch

    known = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return None if known is None else bool(known())


def lost_gpu_in_fork() -> bool:
    """Return whether this process was forked from one that had used CUDA, and so cannot use it.

    torch says so only when CUDA is used, by `torch.cuda._is_in_bad_fork`.
    """
    import torch

    return bool(torch.cuda._is_in_bad_fork())


@contextmanager
def integers_can_be_sharded() -> Iterator[None]:
    """Let `fully_shard` split frozen integer weights, which it cannot before torch 2.12.

    `FSDPParam._init_sharded_param` makes the parameter of a shard with `requires_grad=True` there
    and copies the flag of the whole weight afterwards. An integer tensor refuses the first step.
    So the module's `nn` is replaced inside, by one whose Parameter asks the tensor's type first.
    Where torch passes the flag itself, this changes nothing.
    """
    from torch import nn
    from torch.distributed.fsdp._fully_shard import _fsdp_param as module

    def parameter(data: Any, requires_grad: bool = True) -> Any:
        trained = requires_grad and (data.is_floating_point() or data.is_complex())
        return nn.Parameter(data, requires_grad=trained)

    class Modules:
        Parameter = staticmethod(parameter)

        def __getattr__(self, name: str) -> Any:
            return getattr(nn, name)

    changed: Any = module
    before = changed.nn
    changed.nn = Modules()
    try:
        yield
    finally:
        changed.nn = before


def is_dropout(module: "nn.Module") -> bool:
    """Return whether a module is dropout of any shape: all share the base class `_DropoutNd`."""
    from torch.nn.modules.dropout import _DropoutNd

    return isinstance(module, _DropoutNd)


@cache
def varlen_options() -> frozenset[str]:
    """Return the parameters of torch's `varlen_attn`, which differ between its releases.

    It has none before torch 2.10. It is a prototype by torch's own words.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def repeats_kv_heads() -> bool:
    """Return whether attention in 16 bits on a GPU repeats keys and values for each query head.

    It does where torch has no `varlen_attn`, before release 2.10: rows are computed one by one
    there. torch is not imported for it, and no parameter of `varlen_attn` is looked at.
    """
    major, minor, *_ = version("torch").split(".")
    return (int(major), int(minor)) < (2, 10)


def variable_length_attention(
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    cu_seqlens: "Tensor",
    longest: int,
    scaling: float | None,
    window: int | None,
) -> "Tensor":
    """Compute torch's FlashAttention over rows of different lengths, on a GPU: `varlen_attn`.

    Args:
        query: [1, heads, T, D].
        key: [1, kv heads, T, D].
        value: [1, kv heads, T, D].
        cu_seqlens: the first position of each row, and T at the end; int32.
        longest: the tokens of the longest row.
        scaling: the factor of the products; None for 1 / sqrt(D).
        window: the tokens that a token sees, itself included; None for all before it.

    Returns:
        [1, T, heads, D].

    Several heads of a query may share one of keys and values. The kernel takes that by itself in
    every release: its host code asks only that one number divides the other, and sums the
    gradients of a group. Since torch 2.12 the Python function asks for `enable_gqa`.
    """
    from torch.nn.attention.varlen import varlen_attn

    known = varlen_options()
    groups = query.shape[1] // key.shape[1]
    how: dict[str, Any] = {}
    if "window_size" in known:
        how["window_size"] = (-1 if window is None else window - 1, 0)
    else:
        how["is_causal"] = True
    if groups > 1 and "enable_gqa" in known:
        how["enable_gqa"] = True
    if scaling is not None and "scale" in known:
        how["scale"] = scaling
    elif scaling is not None:
        query = query * (scaling * query.shape[-1] ** 0.5)
    q, k, v = (one[0].transpose(0, 1).contiguous() for one in (query, key, value))
    result: Any = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest, **how)
    return result[None]  # type: ignore[no-any-return]


def copy_all(targets: "list[Tensor]", sources: "list[Tensor]") -> None:
    """Copy tensors, and cast them, by a few kernels for all: `torch._foreach_copy_`.

    Without it each tensor would take a kernel of its own.
    """
    import torch

    torch._foreach_copy_(targets, sources)
