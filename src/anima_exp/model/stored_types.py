"""Say what can be done with a base model whose files are quantized already, by its config.json.

bitsandbytes' types are used as they are stored (base_files.py). FP8 and MXFP4 are only formats of
the files here: transformers dequantizes them to 16 bits on any machine, and the base is then
quantized as `quant` says (dequantized_copy.py). Nothing else can be trained on. This module imports
no torch.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from anima_exp.errors import ModelError

SIXTEEN_BITS = "the 16-bit model that it was made from"
# quant_method in config.json -> the format's name, and the package that transformers needs for it.
_DEQUANTIZED: dict[str, tuple[str, str | None]] = {
    "fp8": ("FP8", None),
    "mxfp4": ("MXFP4", None),
    "compressed-tensors": ("compressed-tensors", "compressed_tensors"),
}
# Formats that only kernels of another package multiply, without a dequantized form.
_NEEDS = {
    "gptq": "GPTQ, which needs the package gptqmodel and a GPU",
    "awq": "AWQ, which needs the package gptqmodel and a GPU",
}


def stored_quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the `quantization_config` of a config.json; None if the base is not quantized."""
    found = config.get("quantization_config") or config.get("compression_config")
    return found or None


def dequantized_format(config: Mapping[str, Any]) -> str | None:
    """Return the name of the format if transformers dequantizes it as it loads; None otherwise."""
    stored = stored_quantization(config)
    name, _ = _DEQUANTIZED.get(str(stored and stored.get("quant_method")), (None, None))
    return name


def check_dequantizable(source: str, stored: Mapping[str, Any]) -> None:
    """Raise ModelError unless transformers can dequantize a base in this format here.

    Args:
        source: model.source, for the message.
        stored: the `quantization_config` of its config.json, not of bitsandbytes.
    """
    method = stored.get("quant_method")
    where = f"model.source={source} is already stored in"
    if method in _DEQUANTIZED:
        name, package = _DEQUANTIZED[str(method)]
        if package is not None and find_spec(package) is None:
            installed = package.replace("_", "-")
            raise ModelError(
                f"{where} {name}, which needs the package {installed}. Install it with `pip "
                f"install {installed}`, or use {SIXTEEN_BITS}, with quant=nf4."
            )
        return
    what = _NEEDS.get(str(method), str(method or "an unknown type"))
    raise ModelError(
        f"{where} {what}; no adapter is trained on it here. Use {SIXTEEN_BITS}, with quant=nf4."
    )
