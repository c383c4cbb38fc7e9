"""Loading a base: quantized while loading, against its snapshot. Each load is a new process.

python benchmarks/base_loading.py [LAYERS [WIDTH]]

The base is a LLaMA of random weights in bf16, made in a temporary folder; NF4 with double
quantization. Seconds are from the call until every weight has been read; peak memory is the whole
process's, imports and mapped files included.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def make(folder, layers, width):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_default_dtype(torch.bfloat16)
    shape = LlamaConfig(
        hidden_size=width, intermediate_size=width * 11 // 4 // 64 * 64, num_hidden_layers=layers,
        num_attention_heads=width // 64, vocab_size=32_000,
    )  # fmt: skip
    model = LlamaForCausalLM(shape)
    model.save_pretrained(folder)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:,.0f} M parameters")


def load(folder, cache):
    import bitsandbytes  # noqa: F401 - imported before the clock starts
    import transformers.models.llama.modeling_llama  # noqa: F401

    from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
    from anima_exp.model.base import load_base

    started, computed = time.perf_counter(), time.process_time()
    model = load_base(
        ModelConfig(source=folder),
        QuantConfig(Quantization.nf4, double_quant=True, compute_dtype=Precision.bf16),
        precision=Precision.bf16,
        cache=Path(cache) if cache else None,
    )
    for weight in model.parameters():
        weight.sum()  # a mapped file is read when it is used
    seconds, computing = time.perf_counter() - started, time.process_time() - computed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:6.1f} s, {computing:6.1f} s of processors, peak memory {peak:.2f} GiB")


def child(*arguments):
    subprocess.run([sys.executable, __file__, *arguments], check=True)


def main(layers="12", width="1280"):
    with tempfile.TemporaryDirectory() as folder:
        base, cache = f"{folder}/base", f"{folder}/cache"
        child("make", base, layers, width)
        for what, where in (
            ("quantized", ""),
            ("quantized, and its snapshot written", cache),
            ("from the snapshot", cache),
            ("from the snapshot, again", cache),
        ):
            print(f"{what}:", flush=True)
            child("load", base, where)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["load"]:
        load(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
