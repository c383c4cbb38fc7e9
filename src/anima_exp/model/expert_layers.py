"""Compute a layer's experts from 4-bit stacks, and LoRA on experts without building B A.

The backward pass dequantizes a stack again instead of keeping it from the forward pass. Tokens are
sorted by expert. On a GPU one grouped product multiplies all experts (torch's `grouped_mm`);
elsewhere, and for numbers that it does not take, each expert is multiplied alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import is_quantized
from anima_exp.libraries.peft_experts import (
    adapted_stack,
    by_expert,
    delta_is_transposed,
    expert_adapter,
    expert_update,
    inner_module,
    is_expert_wrapper,
)
from anima_exp.libraries.peft_internals import base_layer
from anima_exp.libraries.transformers_experts import (
    apply_gate,
    expert_count,
    expert_modules,
    has_bias,
    is_transposed,
    norm_behind,
    products_of,
    takes_experts_function,
)
from anima_exp.model.expert_products import Routing, product, sums_of_products
from anima_exp.model.expert_weights import compute_type, dequantized_stack

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_WRAPPERS = "expert_adapters"  # an attribute of a module with experts: stack -> ParamWrapper


def install(model: "PreTrainedModel | PeftModel") -> None:
    """Replace the forward pass of modules with experts in 4 bits, or with adapters on experts.

    All others are left to transformers. A second call finds adapters that were added since.
    """
    wrappers = [one for one in model.modules() if is_expert_wrapper(one)]
    for wrapper in wrappers:
        inner = inner_module(wrapper)
        inner.__dict__.setdefault(_WRAPPERS, {})[adapted_stack(wrapper)] = wrapper
        wrapper.forward = partial(_pass_on, wrapper)
    for _, module, stacks in expert_modules(model):
        quantized = any(is_quantized(getattr(module, stack)) for stack in stacks)
        if quantized or module.__dict__.get(_WRAPPERS):
            known = takes_experts_function(module) and set(products_of(module)) == set(stacks)
            module.forward = partial(_forward if known else _forward_again, module)


def _pass_on(wrapper: nn.Module, *args: object, **kwargs: object) -> Any:
    """Leave adding the adapter to the module with the experts."""
    return base_layer(wrapper)(*args, **kwargs)


@contextmanager
def original_experts_forward(model: "PreTrainedModel | PeftModel") -> Iterator[None]:
    """Inside, leave adapters of experts to PEFT; but experts in 4 bits, which it cannot take."""
    ours = {}
    for _, module, stacks in expert_modules(model):
        wrappers = module.__dict__.get(_WRAPPERS, {})
        if wrappers and not any(is_quantized(getattr(module, stack)) for stack in stacks):
            for one in (module, *wrappers.values()):
                ours[one] = one.__dict__.pop("forward")
    try:
        yield
    finally:
        for module, forward in ours.items():
            module.forward = forward


def _forward(
    module: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """Compute experts for tokens [T, hidden], with the experts and weights [T, k] of each."""
    kind = hidden_states.device.type
    dtype = (
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_states.dtype
    )
    tokens, k = top_k_index.shape
    first, second = products_of(module)
    # A number behind the last expert means none; such a token gets a weight of zero.
    number = top_k_index.reshape(-1)
    chosen = number < expert_count(module)
    number = number.clamp(max=expert_count(module) - 1)
    weights = torch.where(chosen, top_k_weights.reshape(-1), 0)
    by_number = torch.sort(number, stable=True)
    routing = Routing.of(by_number.values, expert_count(module))
    order = by_number.indices
    flat = hidden_states.to(dtype).index_select(0, order // k)
    up = _product(module, first, flat, routing)
    down = _product(module, second, apply_gate(module, up).to(dtype), routing)
    if norm := norm_behind(module):
        down = norm(down)
    weighted = down * weights[order, None]
    # Gathered back and not scattered, which would keep what it scatters.
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    result = weighted.index_select(0, back).view(tokens, k, -1)
    return result.sum(dim=1).to(hidden_states.dtype)


def _product(module: nn.Module, stack: str, x: Tensor, routing: Routing) -> Tensor:
    """Return x W_e + s B_e A_e x, and the bias of the expert e of each row of x."""
    wrapper = module.__dict__.get(_WRAPPERS, {}).get(stack)
    adapter = None if wrapper is None else _adapter(wrapper)
    update = (None, None, 0.0) if adapter is None else expert_update(wrapper, adapter)
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _ExpertProduct.apply(x, *update, module, stack, routing)  # type: ignore[no-untyped-call]
        if has_bias(module):
            bias = getattr(module, f"{stack}_bias")
            out = out + bias.to(out.dtype).index_select(0, routing.numbers)
    return out


def _adapter(wrapper: nn.Module) -> str | None:
    try:
        return expert_adapter(wrapper)
    except ValueError as error:
        raise ModelError(f"{error}, but experts can have one at a time.") from error


class _ExpertProduct(torch.autograd.Function):
    """x W_e + s B_e A_e x, in the order of experts; W is frozen and is not kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        a: Tensor | None,
        b: Tensor | None,
        scaling: float,
        module: nn.Module,
        stack: str,
        routing: Routing,
    ) -> Tensor:
        ctx.of = module, stack, scaling
        wide = compute_type(module) or x.dtype
        turned = not is_transposed(module)
        out = product(x.to(wide), *dequantized_stack(module, stack, wide), routing, turned)
        out = out.to(x.dtype)
        if a is None or b is None:
            ctx.save_for_backward(routing.numbers, routing.counts)
            return out
        a_e, b_e = _matrices(a, b, module, x.dtype)
        narrow = product(x, *_both(a_e), routing, turned=True).mul_(scaling)
        ctx.save_for_backward(routing.numbers, routing.counts, x, narrow, a, b)
        return out.add_(product(narrow, *_both(b_e), routing, turned=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        module, stack, scaling = ctx.of
        # Once: activation checkpointing computes them again at the first look.
        numbers, counts, *of_adapter = ctx.saved_tensors
        routing = Routing(numbers, counts)
        d_out = gradients[0].contiguous()
        turned = is_transposed(module)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = product(d_out, *dequantized_stack(module, stack, d_out.dtype), routing, turned)
        if not of_adapter:
            return d_x, *[None] * 6
        x, narrow, a, b = of_adapter
        a_e, b_e = _matrices(a, b, module, d_out.dtype)
        d_narrow = product(d_out, *_both(b_e), routing, turned=False).mul_(scaling)
        if d_x is not None:
            d_x.add_(product(d_narrow, *_both(a_e), routing, turned=False))
        d_a = sums_of_products(d_narrow, x, routing).view(a.shape)
        d_b = sums_of_products(d_out, narrow, routing).permute(1, 2, 0).reshape(b.shape)
        return d_x, d_a.to(a.dtype), d_b.to(b.dtype), *[None] * 4


def _matrices(a: Tensor, b: Tensor, module: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    a_e, b_e = by_expert(a.detach().to(dtype), b.detach().to(dtype), expert_count(module))
    return a_e, b_e.contiguous()


def _both(stack: Tensor) -> tuple[Callable[[], Tensor], Callable[[int], Tensor]]:
    return (lambda: stack), (lambda number: stack[number])


# A class of experts that transformers computes by code of its own (Llama 4, JetMoE).


def _forward_again(module: nn.Module, *args: object, **kwargs: object) -> Any:
    """Compute with dequantized experts, and compute again in the backward pass."""
    compute = partial(_compute, module, **kwargs)
    if not torch.is_grad_enabled():
        return compute(*args)
    return checkpoint(compute, *args, use_reentrant=False, preserve_rng_state=False)


def _compute(module: nn.Module, *args: object, **kwargs: object) -> Any:
    x: Any = args[0]
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    wrappers = module.__dict__.get(_WRAPPERS, {})
    names = [name for name, one in module.named_parameters(recurse=False) if _is_stack(one)]
    plain: dict[str, Tensor] = {}
    for name in names:
        weight = dequantized_stack(module, name, dtype)[0]()
        adapter = _adapter(wrappers[name]) if name in wrappers else None
        plain[name] = weight if adapter is None else _with_update(weight, wrappers[name], adapter)
    module.__dict__.update(plain)  # these hide the parameters of the same names
    try:
        return type(module).forward(module, *args, **kwargs)
    finally:
        for name in plain:
            module.__dict__.pop(name, None)


def _is_stack(parameter: Tensor) -> bool:
    return is_quantized(parameter) or parameter.ndim == 3


def _with_update(weight: Tensor, wrapper: nn.Module, adapter: str) -> Tensor:
    a, b, scaling = expert_update(wrapper, adapter)
    a_e, b_e = by_expert(a.to(weight.dtype), b.to(weight.dtype), len(weight))
    if delta_is_transposed(wrapper):
        return torch.baddbmm(weight, a_e.mT, b_e.mT, alpha=scaling)
    return torch.baddbmm(weight, b_e, a_e, alpha=scaling)
