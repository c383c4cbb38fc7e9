"""Create the optimizer of a run and the schedule of its learning rate."""

import math
import re
from importlib import import_module
from typing import Any

import torch
from torch import nn

from anima_exp.config import OptimizerConfig, OptimizerName, Schedule
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes, new_exceptions

# DoRA's lengths of rows are no more to be drawn to 0 than the weights of norms.
_NEVER_DECAYED = re.compile(
    r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)|lora_magnitude"
)


def make_optimizer(
    model: nn.Module, config: OptimizerConfig, *, paged: bool = True
) -> torch.optim.Optimizer:
    """Return AdamW over all trainable weights, without weight decay on biases and norms.

    With optimizer.lora_plus_ratio, LoRA's B has a learning rate higher than A's by that factor
    (LoRA+). The states of a paged optimizer move to CPU memory if the GPU is full.

    Args:
        paged: whether the GPU can become full. If it cannot, torch's AdamW replaces bitsandbytes'
            in 32 bits. It computes the same in another order, but with one kernel for many
            weights, while bitsandbytes waits for the GPU after every weight.
    """
    groups = _groups(model, config)
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
    }
    unpaged = config.name is OptimizerName.paged_adamw_32bit and not paged and _on_gpus(groups)
    if config.name is OptimizerName.adamw or unpaged:
        return torch.optim.AdamW(groups, **settings, fused=True)
    import_bitsandbytes()
    bitsandbytes: Any = import_module("bitsandbytes.optim")

    bits = 8 if config.name is OptimizerName.paged_adamw_8bit else 32
    exceptions = new_exceptions()
    if bits == 8:
        for module in model.modules():
            # The rows of rare tokens have few, large gradients, which 8 bits would round to zero.
            if isinstance(module, nn.Embedding) and module.weight.requires_grad:
                exceptions.register_module_override(module, "weight", {"optim_bits": 32})
    optimizer: torch.optim.Optimizer = bitsandbytes.AdamW(
        groups, **settings, optim_bits=bits, is_paged=True
    )
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, *, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of the learning rate over `steps` optimizer steps."""
    from transformers import get_scheduler

    warmup = config.warmup_steps
    if warmup is None:
        warmup = math.ceil(config.warmup_ratio * steps)
    kind, floor = config.schedule.value, config.min_learning_rate_ratio
    settings: dict[str, Any] = {}
    if config.schedule is Schedule.constant and warmup:
        kind = "constant_with_warmup"
    if config.schedule is Schedule.cosine and floor:
        kind, settings = "cosine_with_min_lr", {"min_lr_rate": floor}
    if config.schedule is Schedule.warmup_stable_decay:
        settings = {
            # Both counts are rounded up, but their sum is at most `steps`.
            "num_decay_steps": min(math.ceil(config.decay_ratio * steps), steps - warmup),
            "decay_type": "linear",
            "min_lr_ratio": floor,
        }
    schedule: torch.optim.lr_scheduler.LRScheduler = get_scheduler(
        kind,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
        scheduler_specific_kwargs=settings,
    )
    return schedule


def _on_gpus(groups: list[dict[str, Any]]) -> bool:
    """Return whether all weights are on GPUs in fp32, since torch's states have their type."""
    weights = [weight for group in groups for weight in group["params"]]
    return bool(weights) and all(one.is_cuda and one.dtype is torch.float32 for one in weights)


def _groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    in_norms = {
        f"{place}.{name}"
        for place, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters()
    }
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    faster: list[nn.Parameter] = []  # LoRA+
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and config.lora_plus_ratio and "lora_B" in name:
            faster.append(parameter)
        elif parameter.requires_grad:
            never = name in in_norms or _NEVER_DECAYED.search(name.lower())
            (others if never else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.lora_plus_ratio:
        rate = config.lora_plus_ratio * config.learning_rate
        groups.append({"params": faster, "weight_decay": config.weight_decay, "lr": rate})
    return groups
