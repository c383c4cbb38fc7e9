"""Settings -> the optimizer of a run and the schedule of its learning rate."""

import math
import re
from importlib import import_module
from typing import Any

import torch
from torch import nn

from anima_exp.config import OptimizerConfig, OptimizerName
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes, new_exceptions

_NEVER_DECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW over all weights that learn; weight decay leaves biases and norms out.

    The states of a paged optimizer move to CPU memory when the GPU is full.
    """
    groups = _groups(model, config)
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
    }
    if config.name is OptimizerName.adamw:
        return torch.optim.AdamW(groups, **settings, fused=True)
    import_bitsandbytes()
    bitsandbytes: Any = import_module("bitsandbytes.optim")

    bits = 8 if config.name is OptimizerName.paged_adamw_8bit else 32
    exceptions = new_exceptions()
    if bits == 8:
        for module in model.modules():
            # Rows of rare tokens have few, large gradients, which 8 bits would round away.
            if isinstance(module, nn.Embedding) and module.weight.requires_grad:
                exceptions.register_module_override(module, "weight", {"optim_bits": 32})
    optimizer: torch.optim.Optimizer = bitsandbytes.AdamW(
        groups, **settings, optim_bits=bits, is_paged=True
    )
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, *, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """How the learning rate moves over `steps` optimizer steps."""
    from transformers import get_scheduler

    schedule: torch.optim.lr_scheduler.LRScheduler = get_scheduler(
        config.schedule.value,
        optimizer,
        num_warmup_steps=math.ceil(config.warmup_ratio * steps),
        num_training_steps=steps,
    )
    return schedule


def _groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    in_norms = {
        f"{place}.{name}"
        for place, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters()
    }
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            never = name in in_norms or _NEVER_DECAYED.search(name.lower())
            (others if never else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
