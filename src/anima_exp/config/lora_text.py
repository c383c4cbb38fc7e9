"""Describe an adapter's settings in words, for the overview of a run and for its model card."""

from collections.abc import Mapping
from typing import Any

METHODS = {"plain": "LoRA", "rslora": "rsLoRA", "dora": "DoRA"}
INITS = {
    "kaiming": "A as noise and B as zeros",
    "pissa": "PiSSA, the largest singular vectors of the base",
    "olora": "OLoRA, the first columns of the base's QR decomposition",
    "loftq": "LoftQ, the largest singular vectors of the quantization error",
    "eva": "EVA, the main directions of the layers' inputs",
}
# Measured on a CPU with the tiny base, in fp32 and bf16: 1.3 to 1.6 times the seconds of a step.
SLOWER = "about 1.5 times slower than plain LoRA on a CPU"


def method(settings: Mapping[str, Any]) -> str:
    """Return the name of the method: `LoRA`, `DoRA`.

    Args:
        settings: the settings of a run by their whole keys. Earlier versions lack some.
    """
    return METHODS.get(str(settings.get("lora.variant") or "plain"), "LoRA")


def start(settings: Mapping[str, Any]) -> str | None:
    """Return what A and B started from; None for an adapter that has just noise and zeros."""
    init = str(settings.get("lora.init") or "kaiming")
    return None if init == "kaiming" else INITS.get(init, init)


def patterns(settings: Mapping[str, Any]) -> list[str]:
    """Return the ranks and alphas of single layers: `rank 8 on q_proj`."""
    result = []
    for what in ("rank", "alpha"):
        for text in settings.get(f"lora.{what}_pattern") or ():
            name, _, number = str(text).rpartition(":")
            result.append(f"{what} {number} on {name}")
    return result if len(result) <= 6 else [*result[:5], f"{len(result) - 5} more"]


def whole(settings: Mapping[str, Any]) -> str | None:
    """Return what is trained as a whole besides the adapter: `embeddings and head, norm`."""
    names = ["embeddings and head"] if settings.get("lora.train_embeddings") else []
    return ", ".join([*names, *(settings.get("lora.save_modules") or ())]) or None
