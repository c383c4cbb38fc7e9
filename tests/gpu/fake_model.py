"""LLaMA-7B with LoRA as FakeTensors on "cuda", in each storage, and one pass through it.

Import it after `fake_cuda.install()` only.
"""

from collections import Counter
from typing import Any

import fake_cuda
import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from anima_exp.config import ActivationCheckpointing, LoraConfig, Precision, TargetModules
from anima_exp.data.micro_batch import pack_rows
from anima_exp.model import lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import DTYPES, autocast
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.forward import loss_of
from anima_exp.model.varlen_attention import packed_attention

GPU = torch.device("cuda:0")
ROW, ROWS = 256, 8  # 2,048 tokens, 848 labels
SHAPE: dict[str, Any] = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "attn_implementation": "sdpa",
    "use_cache": False,
}


class Operations(TorchDispatchMode):
    """Counts torch's operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.counts[str(operation)] += 1
        return operation(*args, **(kwargs or {}))


def base(storage: str, blocks: int, dtype: torch.dtype) -> Any:
    """A frozen LLaMA of 7B's width on the GPU, as load_base gives it."""
    config = LlamaConfig(**SHAPE, num_hidden_layers=0)
    torch.set_default_dtype(dtype)
    with torch.device(GPU):
        model = LlamaForCausalLM(config)
        for index in range(blocks):
            block = LlamaDecoderLayer(config, index)
            if storage != "none":
                quantize(block, in_8_bits if storage == "int8" else in_4_bits, dtype)
            model.model.layers.append(block)
    torch.set_default_dtype(torch.float32)
    config.num_hidden_layers = blocks
    return model.requires_grad_(False)


def quantize(block: nn.Module, make: Any, dtype: torch.dtype) -> None:
    for name, linear in list(block.named_modules()):
        if isinstance(linear, nn.Linear):
            holder, _, last = name.rpartition(".")
            setattr(block.get_submodule(holder), last, make(linear, dtype))


def in_4_bits(linear: nn.Linear, dtype: torch.dtype) -> nn.Module:
    """A Linear4bit with the constants that NF4 with double quantization would have."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Linear4bit

    count = linear.weight.numel()
    with fake_cuda.real_tensors():  # its class of weight cannot hold a FakeTensor
        layer: Any = Linear4bit(
            linear.in_features, linear.out_features, bias=False, compute_dtype=dtype, device="meta"
        )
    maxima = -(-count // 64)
    second = QuantState(
        absmax=torch.empty(-(-maxima // 256), dtype=torch.float32),
        blocksize=256,
        code=torch.empty(256, dtype=torch.float32),
        dtype=torch.float32,
    )
    state = QuantState(
        absmax=torch.empty(maxima, dtype=torch.uint8),
        shape=linear.weight.shape,
        code=torch.empty(16, dtype=torch.float32),
        blocksize=64,
        quant_type="nf4",
        dtype=dtype,
        offset=torch.empty((), dtype=torch.float32),
        state2=second,
    )
    # Instead of a Params4bit, a parameter with its attributes.
    weight: Any = nn.Parameter(torch.empty(count // 2, 1, dtype=torch.uint8), requires_grad=False)
    weight.quant_state, weight.bnb_quantized, weight.compress_statistics = state, True, True
    weight.quant_type, weight.quant_storage, weight.blocksize = "nf4", torch.uint8, 64
    weight.module = layer
    layer.weight, layer.quant_state = weight, state
    return layer


def in_8_bits(linear: nn.Linear, dtype: torch.dtype) -> nn.Module:
    """A Linear8bitLt after its first pass, with its integers in its state."""
    from bitsandbytes.nn import Linear8bitLt

    with fake_cuda.real_tensors():
        layer: Any = Linear8bitLt(
            linear.in_features, linear.out_features, False, has_fp16_weights=False, device="meta"
        )
    integers = torch.empty(linear.weight.shape, dtype=torch.int8)
    layer.weight = nn.Parameter(integers, requires_grad=False)
    layer.weight.CB = layer.weight.SCB = None
    layer.state.CB, layer.state.SCB = integers, torch.empty(len(integers), dtype=torch.float32)
    return layer


def adapted(model: Any) -> Any:
    """`model` with LoRA on all linear layers, without moves: FakeTensors cannot be swapped."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    lora = LoraConfig(TargetModules.all_linear, rank=64, alpha=16, dropout=0.1)
    with torch.device(GPU):
        before = BaseTunerLayer._move_adapter_to_device_of_base_layer, nn.Module.to
        BaseTunerLayer._move_adapter_to_device_of_base_layer = lambda *_, **__: None
        nn.Module.to = lambda module, *_, **__: module  # type: ignore[method-assign]
        try:
            return add_lora(model, lora).train()
        finally:
            BaseTunerLayer._move_adapter_to_device_of_base_layer, nn.Module.to = before


def batch() -> Any:
    labels = np.where(np.arange(ROW) < 150, -100, 5)
    rows = [{"input_ids": np.arange(ROW), "labels": labels} for _ in range(ROWS)]
    return pack_rows(rows, range(ROWS), [1.0] * ROWS)


def on_gpu(micro_batch: Any) -> Any:
    fields = {
        name: torch.empty(value.shape, dtype=value.dtype, device=GPU)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in vars(micro_batch).items()
    }
    return type(micro_batch)(**fields)


def run(blocks: int, storage: str, precision: str, recompute: str) -> dict[str, Any]:
    """One forward and backward pass; returns what it made, and the operations that it took."""
    dtype = DTYPES[Precision(precision)]
    real = batch()
    with fake_cuda.fake_tensors():
        with torch.device(GPU):
            model = base(storage.replace("kept", "nf4"), blocks, dtype)
        model = adapted(model)
        if storage == "kept":
            keep_dequantized(model)
        keys = lora_linear.install(model)
        apply_activation_checkpointing(model, ActivationCheckpointing(recompute))
        micro_batch = on_gpu(real)
        keys.now = torch.empty(ROW * ROWS, dtype=torch.int32, device=GPU)
        with Operations() as operations, packed_attention(model):
            with autocast(GPU, Precision(precision)):
                loss = loss_of(model, micro_batch)
            loss.backward()  # type: ignore[no-untyped-call]
        trained = [p for p in model.parameters() if p.requires_grad]
        gradients = [p.grad for p in trained if p.grad is not None]
        return {
            "loss": [str(loss.device), str(loss.dtype)],
            "trained": len(trained),
            "gradients": Counter(f"{one.device} {one.dtype}" for one in gradients),
            "frozen gradients": sum(
                p.grad is not None for p in model.parameters() if not p.requires_grad
            ),
            "operations": operations.counts,
        }
