"""Bases with experts in files, loaded in 4 bits or with the same numbers unquantized."""

import torch

from anima_exp.config import (
    Attention,
    LoraConfig,
    ModelConfig,
    Precision,
    QuantConfig,
    Quantization,
    TargetModules,
)
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import load_base
from support.small_models import small

FAMILIES = ("mixtral", "qwen3_moe", "olmoe", "glm4_moe", "deepseek_v3", "gpt_oss", "llama4")
IDS = torch.tensor([[1, 5, 9, 2, 7, 30, 31, 2, 44, 45, 46]])


def saved(folder, family, **settings):
    model = small(family, **settings)
    model.save_pretrained(folder)
    return folder


def load(folder, kind="nf4", *, double=True, precision="fp32", cache=None):
    quant = QuantConfig(
        type=Quantization(kind), double_quant=double, compute_dtype=Precision(precision)
    )
    model = ModelConfig(name="small", source=str(folder), attention=Attention.sdpa)
    return load_base(model, quant, precision=Precision(precision), cache=cache)


def plain_twin(quantized, folder):
    """The base computed by transformers alone, with the numbers that `quantized` stands for."""
    from bitsandbytes.functional import dequantize_4bit

    twin = load(folder, "none")
    numbers = dict(quantized.named_parameters())
    for name, parameter in twin.named_parameters():
        stored = numbers[name]
        if hasattr(stored, "quant_state"):
            stored = dequantize_4bit(stored.data, stored.quant_state).view(parameter.shape)
        parameter.data = stored.data.clone()
    return twin


def adapted(base, *, experts=True, which="all_linear", **settings):
    """The base with an adapter whose B is not zero, the same for the same seed."""
    torch.manual_seed(3)
    lora = LoraConfig(
        target_modules=TargetModules(which), rank=4, dropout=0.0, experts=experts, **settings
    )
    model = add_lora(base, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def gradients(model):
    """The logits, and the gradient of each trained weight."""
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    logits.square().mean().backward()
    return logits.detach(), {
        name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None
    }


def apart(left, right):
    """The distance of two tensors, relative to the second one."""
    return float(((left - right).norm() / right.norm()).detach())
