"""Hidden states at the labels -> the loss, a few logits at a time.

Logits are the largest thing in fine-tuning a small model: tokens x vocabulary, in fp32, and their
gradient again. Here they exist for one chunk of labels only. As the head is as a rule frozen, a
chunk's gradient goes back through it at once, and the backward pass has nothing left to compute.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anima_exp.model.constants import chunk_logits


@dataclass(frozen=True)
class Head:
    """What a causal language model does behind its last norm."""

    weight: Tensor  # [V, H]
    bias: Tensor | None  # [V]
    scale: float = 1.0  # of the logits
    softcap: float | None = None  # logits -> softcap * tanh(logits / softcap)


def head_of(model: Any) -> Head:
    """The head of a transformers model, with what some families do to logits."""
    module, config = model.get_output_embeddings(), model.config.get_text_config()
    divide = getattr(config, "logits_scaling", None)  # Granite
    multiply = getattr(config, "logit_scale", None)  # Cohere
    multiply = multiply or getattr(config, "lm_head_multiplier", None)  # Falcon H1
    return Head(
        weight=module.weight,
        bias=getattr(module, "bias", None),
        scale=(multiply or 1.0) / (divide or 1.0),
        softcap=getattr(config, "final_logit_softcapping", None),  # Gemma
    )


def logits_of(hidden: Tensor, head: Head) -> Tensor:
    """[T, H] -> [T, V] in fp32: for a few tokens."""
    hidden = hidden.to(head.weight.device)
    logits = (hidden.to(head.weight.dtype) @ head.weight.T).float()
    if head.bias is not None:
        logits += head.bias
    logits *= head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def chunked_cross_entropy(
    hidden: Tensor, labels: Tensor, weights: Tensor, head: Head, dtype: torch.dtype
) -> Tensor:
    """The weighted sum of the cross-entropies, in fp32.

    Args:
        hidden: [L, H], the states that predict the labels.
        labels: [L].
        weights: [L], fp32.
        dtype: the type to multiply with the head in.
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
        # Gradients are kept as if the heaviest label counted 1: in fp16 those of one label among
        # thousands would vanish.
        # If all weights are 0, as in a process without a row of the batch, any divisor will do.
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
        # One room for all chunks: on a CPU fresh memory costs more than the numbers in it.
        room = weights.new_empty(min(size, len(hidden)), len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            logits = room[: len(hidden[part])]
            if hidden.dtype is torch.float32:
                torch.mm(hidden[part], matrix.T, out=logits)
            elif hidden.is_cuda:  # cuBLAS adds in fp32, so that its sums need no rounding
                torch.mm(hidden[part], matrix.T, out_dtype=torch.float32, out=logits)
            else:
                logits.copy_(hidden[part] @ matrix.T)
            if bias is not None:
                logits += bias
            if scale != 1.0:
                logits *= scale
            bend = None
            if softcap is not None:
                bent = torch.tanh_(logits.div_(softcap))
                bend = 1 - bent.square()
                logits = bent.mul_(softcap)
            logits -= logits.amax(dim=-1, keepdim=True)
            chosen = logits.gather(1, labels[part, None])
            sums = logits.exp_().sum(dim=-1, keepdim=True)
            loss += ((sums.log() - chosen)[:, 0] * weights[part]).sum()
            if not any(wanted):
                continue
            # d loss / d logits = softmax - 1 at the label.
            slope, factor = logits, relative[part, None] * scale
            slope *= factor / sums
            slope.scatter_add_(1, labels[part, None], -factor)
            if bend is not None:
                slope *= bend
            if d_bias is not None:
                d_bias += slope.sum(0)
            narrow = slope.to(hidden.dtype)
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
            # The factor is fp16's scale, which is beyond fp16. A vector of one number, unlike a
            # number, makes the product fp32; only the result is rounded.
            d_hidden = torch.mul(d_hidden, factor.view(1), out=torch.empty_like(d_hidden))
        if d_weight is not None:
            d_weight = (d_weight * factor).to(ctx.weight_dtype)
        if d_bias is not None:
            d_bias = (d_bias * factor).to(ctx.weight_dtype)
        return d_hidden, d_weight, d_bias, None, None, None, None
