"""The figures of a proof -> whether the merged model is the trained one, and what is lost later."""

from anima_exp.config import MergeConfig, Onto
from anima_exp.errors import ModelError
from anima_exp.merge.base import FOUR_BITS
from anima_exp.merge.proof import Measured
from anima_exp.merge.prove import Proved

# Measured on the tiny base; conf/merge.yaml has the figures.
_ALLOWED = {Onto.base: 0.1, Onto.dequantized: 0.01}
_WORTH_KEEPING = 0.9  # of what was learnt: a light fine-tune can drown in a small divergence


def allowed(config: MergeConfig) -> float:
    return _ALLOWED[config.onto] if config.max_divergence is None else config.max_divergence


def refuse(config: MergeConfig, merged: Measured, base: Measured) -> None:
    """Raise ModelError if the merged model is not the one that was trained."""
    limit = allowed(config)
    if merged.divergence <= limit:  # what is no number is none either
        return
    raise ModelError(
        f"The merged model is not the trained one: it is {merged.divergence:.4f} nats per token "
        f"away from it (the bare base: {base.divergence:.4f}), and max_divergence is {limit:g}. "
        f"Nothing was written. {_way_out(config)}"
    )


def kept(found: Proved, measured: Measured) -> float | None:
    """Share of the fall in held-out loss that is still there; None if training made no fall."""
    fall = found.base.loss - found.trained.loss
    return (found.base.loss - measured.loss) / fall if fall > 0 else None


def warns(config: MergeConfig, found: Proved, again: Measured) -> bool:
    """Whether rounding the merged model anew would cost what a user should know of."""
    share = kept(found, again)
    limit = _ALLOWED[Onto.base] if config.max_divergence is None else config.max_divergence
    return not again.divergence <= limit or (share is not None and share < _WORTH_KEEPING)


def _way_out(config: MergeConfig) -> str:
    raised = "a higher max_divergence accepts it."
    if config.onto is Onto.base and config.quant.type in FOUR_BITS:
        return (
            "If its adapter leans on the rounding that it was trained with, onto=dequantized "
            f"keeps that; {raised}"
        )
    return f"Is it the adapter of this base, in these versions? Else {raised}"
