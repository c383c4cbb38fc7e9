"""Compute the loss from hidden states at the labels, one chunk of logits at a time.

Logits are the largest tensor when a small model is fine-tuned: tokens x vocabulary in fp32, and
their gradient once more. Here they exist for one chunk of labels only. The head is usually frozen,
so a chunk's gradient is propagated through it immediately, and nothing is left for the backward
pass.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anima_exp.model.constants import chunk_logits


@dataclass(frozen=True)
class Head:
    """What a causal language model computes after its last norm."""

    weight: Tensor  # [V, H]
    bias: Tensor | None  # [V]
    scale: float = 1.0  # of the logits
    softcap: float | None = None  # logits -> softcap * tanh(logits / softcap)


def head_of(model: Any) -> Head:
    """Return the head of a transformers model, with the scaling and soft cap of some families."""
    module, config = model.get_output_embeddings(), model.config.get_text_config()
    divide = getattr(config, "logits_scaling", None)  # Granite
    divide = divide or getattr(config, "logits_mup_width_multiplier", None)  # Inkling
    multiply = getattr(config, "logit_scale", None)  # Cohere
    multiply = multiply or getattr(config, "lm_head_multiplier", None)  # Falcon H1
    return Head(
        weight=module.weight,
        bias=getattr(module, "bias", None),
        scale=(multiply or 1.0) / (divide or 1.0),
        softcap=getattr(config, "final_logit_softcapping", None),  # Gemma
    )


def logits_of(hidden: Tensor, head: Head) -> Tensor:
    """Return the logits of a few tokens: [T, H] -> [T, V] in fp32."""
    hidden = hidden.to(head.weight.device)
    logits = (hidden.to(head.weight.dtype) @ head.weight.T).float()
    if head.bias is not None:
        logits += head.bias
    logits *= head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def chunked_cross_entropy(
    hidden: Tensor, labels: Tensor, weights: Tensor, head: Head, dtype: torch.dtype
) -> Tensor:
    """Return the weighted sum of the cross-entropies, in fp32.

    Args:
        hidden: [L, H], the hidden states that predict the labels.
        labels: [L].
        weights: [L], fp32.
        dtype: the type of the product with the head.
    """
    loss: Tensor = _LabelLoss.apply(  # type: ignore[no-untyped-call]
        hidden.to(dtype), head.weight, head.bias, labels, weights, head.scale, head.softcap
    )
    return loss


class _LabelLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        weights: Tensor,
        scale: float,
        softcap: float | None,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[:3]
        matrix = weight.to(hidden.dtype)
        # Gradients are stored relative to the largest weight: in fp16 those of one label among
        # thousands would underflow. If all weights are 0, as in a process without a row of the
        # batch, the divisor does not matter.
        heaviest = weights.max() if len(weights) else weights.new_ones(())
        heaviest = torch.where(heaviest > 0, heaviest, 1.0)
        relative = weights / heaviest
        d_hidden = torch.empty_like(hidden) if wanted[0] else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
        d_bias = None
        if bias is not None and wanted[2]:
            d_bias = torch.zeros_like(bias, dtype=torch.float32)
        loss = weights.new_zeros(())
        size = max(1, chunk_logits(gpu=hidden.is_cuda) // len(weight))
        # Reuse one buffer for all chunks: on a CPU, touching fresh memory costs more than the
        # arithmetic.
        buffer = weights.new_empty(min(size, len(hidden)), len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            logits = buffer[: len(hidden[part])]
            if hidden.dtype is torch.float32:
                torch.mm(hidden[part], matrix.T, out=logits)
            elif hidden.is_cuda:  # cuBLAS accumulates in fp32, so the result needs no rounding
                torch.mm(hidden[part], matrix.T, out_dtype=torch.float32, out=logits)
            else:
                logits.copy_(hidden[part] @ matrix.T)
            if bias is not None:
                logits += bias
            if scale != 1.0:
                logits *= scale
            softcap_grad = None
            if softcap is not None:
                capped = torch.tanh_(logits.div_(softcap))
                softcap_grad = 1 - capped.square()
                logits = capped.mul_(softcap)
            logits -= logits.amax(dim=-1, keepdim=True)
            chosen = logits.gather(1, labels[part, None])
            sums = logits.exp_().sum(dim=-1, keepdim=True)
            loss += ((sums.log() - chosen)[:, 0] * weights[part]).sum()
            if not any(wanted):
                continue
            # d loss / d logits = softmax - 1 at the label.
            d_logits, factor = logits, relative[part, None] * scale
            d_logits *= factor / sums
            d_logits.scatter_add_(1, labels[part, None], -factor)
            if softcap_grad is not None:
                d_logits *= softcap_grad
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            narrow = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                torch.mm(narrow, matrix, out=d_hidden[part])
            if d_weight is not None:
                d_weight += narrow.T @ hidden[part]
        ctx.save_for_backward(d_hidden, d_weight, d_bias, heaviest)
        ctx.weight_dtype = weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        d_hidden, d_weight, d_bias, heaviest = ctx.saved_tensors
        factor = outputs[0] * heaviest
        if d_hidden is not None:
            # The factor includes the loss scale of fp16, which exceeds fp16's range. A vector of
            # one element, unlike a scalar, makes the product fp32, so only the result is rounded.
            d_hidden = torch.mul(d_hidden, factor.view(1), out=torch.empty_like(d_hidden))
        if d_weight is not None:
            d_weight = (d_weight * factor).to(ctx.weight_dtype)
        if d_bias is not None:
            d_bias = (d_bias * factor).to(ctx.weight_dtype)
        return d_hidden, d_weight, d_bias, None, None, None, None
