"""Write a model in transformers' fine-grained FP8, as FP8 models on the hub are stored."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

BLOCK = 32


def fp8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a matrix in e4m3, and the scale of each block."""
    rows, columns = weight.shape
    blocks = weight.float().view(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    scales = blocks.abs().amax((1, 3)) / 448
    stored = (blocks / scales[:, None, :, None]).view(rows, columns).to(torch.float8_e4m3fn)
    return stored, scales


def dequantized(stored: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    rows, columns = stored.shape
    blocks = stored.float().view(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return (blocks * scales[:, None, :, None]).view(rows, columns)


def write_in_fp8(source: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Copy a base with its linear layers in FP8; return what they stand for, by name."""
    shutil.copytree(source, folder)
    weights, means = {}, {}
    for name, one in load_file(source / "model.safetensors").items():
        weights[name] = one.to(torch.bfloat16)
        if name.endswith("proj.weight"):
            weights[name], scales = fp8(one)
            weights[f"{name}_scale_inv"] = scales
            means[name] = dequantized(weights[name], scales)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return means
