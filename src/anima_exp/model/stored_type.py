"""A base that was quantised before it was saved: compare its type with the one that a run claims.

transformers loads such a base as it is stored, whatever quantisation is asked for. A sweep over
data types would then compare NF4 with NF4. No torch here.
"""

from collections.abc import Mapping
from typing import Any

from anima_exp.config import QuantConfig, Quantization
from anima_exp.errors import ModelError
from anima_exp.libraries.transformers_loading import stored_type


def check_stored_type(source: str, config: Mapping[str, Any], quant: QuantConfig) -> str | None:
    """Return the type in which the files store the base; None if they are not quantised.

    Args:
        config: the content of the base's config.json.

    Raises:
        ModelError: the type is unsupported, or it is not the one that `quant` claims.
    """
    stored = config.get("quantization_config") or config.get("compression_config")
    if not stored:
        return None
    where = f"model.source={source} is stored"
    sixteen = "the 16-bit model that it was made from"
    named = stored_type(stored)
    kind = Quantization(named) if named else None
    if kind is None:
        method = stored.get("quant_method") or "an unknown type"
        raise ModelError(
            f"{where} in {method} already, which cannot be trained here. Give {sixteen}, with "
            "quant=nf4."
        )
    if quant.type is not kind:
        raise ModelError(
            f"{where} in {kind.value} already, and quant.type={quant.type.value} cannot change "
            f"that. Use quant={kind.value}, or give {sixteen}."
        )
    double = bool(stored.get("bnb_4bit_use_double_quant"))
    if kind is not Quantization.int8 and quant.double_quant is not double:
        how = "with" if double else "without"
        raise ModelError(
            f"{where} in {kind.value} {how} double quantisation already. Use "
            f"quant.double_quant={str(double).lower()}, or give {sixteen}."
        )
    return kind.value
