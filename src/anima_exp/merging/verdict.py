"""Decide from a verification whether the merged model is accepted, and describe its figures."""

from dataclasses import dataclass
from pathlib import Path

from anima_exp.cli.overrides import quoted_command
from anima_exp.config import MergeConfig, MergeTarget, Quantization
from anima_exp.display.console import file_size
from anima_exp.display.tables import Column
from anima_exp.errors import ModelError
from anima_exp.events import Event
from anima_exp.inference.saved_model import find_run_of_adapter
from anima_exp.merging.tensor_plan import Plan, short, store_in
from anima_exp.merging.verification import Measured, VerificationResult

# Limits in nats per token, chosen from measurements on the tiny base.
_ALLOWED = {MergeTarget.base: 0.1, MergeTarget.dequantized: 0.01}
_WORTH_KEEPING = 0.9  # of the fall in loss, which a small divergence can cancel in a short training


def allowed(config: MergeConfig) -> float:
    return _ALLOWED[config.target] if config.max_divergence is None else config.max_divergence


def refuse(config: MergeConfig, merged: Measured, base: Measured) -> None:
    """Raise ModelError if the merged model differs too much from the trained one."""
    limit = allowed(config)
    if merged.divergence <= limit:  # False for nan
        return
    raise ModelError(
        f"The merged model differs from the trained one by {merged.divergence:.4f} nats per token "
        f"(the bare base: {base.divergence:.4f}), which exceeds max_divergence={limit:g}. "
        f"Nothing was written. {_way_out(config)}"
    )


def kept_share(result: VerificationResult, measured: Measured) -> float | None:
    """Return the fraction of the fall in held-out loss that remains; None if there was no fall."""
    fall = result.base.loss - result.trained.loss
    return (result.base.loss - measured.loss) / fall if fall > 0 else None


def warns(config: MergeConfig, result: VerificationResult, again: Measured) -> bool:
    """Return whether to warn that quantizing the merged model again loses too much."""
    share = kept_share(result, again)
    limit = _ALLOWED[MergeTarget.base] if config.max_divergence is None else config.max_divergence
    return not again.divergence <= limit or (share is not None and share < _WORTH_KEEPING)


def _way_out(config: MergeConfig) -> str:
    raised = "accept the difference with a higher max_divergence."
    if config.target is MergeTarget.base and config.quant.is_4bit:
        return (
            "The adapter may depend on the rounding error of the 4-bit base that it was trained "
            f"on, which target=dequantized preserves. Or {raised}"
        )
    return f"Check that the adapter belongs to this base and these versions. Otherwise {raised}"


# The table and the sentences of a verification, for the terminal and the model card.


ONTO = {
    MergeTarget.base: "its own weights",
    MergeTarget.dequantized: "the weights it was trained on: quantized to 4 bits and dequantized",
}
MERGED_ROW = 2  # index of the table's row


def columns(config: MergeConfig, result: VerificationResult, dtype: str) -> list[Column]:
    """Return the table of a verification. `dtype` is the short name of the merged weights' type."""
    kind = config.quant.type.value
    base = "base" if config.quant.type is Quantization.none else f"base in {kind}"
    rows = {
        base: result.base,
        f"{base} + adapter, as trained": result.trained,
        f"merged, {dtype}": result.merged,
    }
    if result.again:
        rows[f"merged, {kind} again"] = result.again
    others = [None if one is result.trained else one for one in rows.values()]
    return [
        Column("", list(rows), right=False),
        Column("held-out loss", [f"{one.loss:.4f}" for one in rows.values()]),
        Column("divergence", [f"{one.divergence:.5f}" if one else "" for one in others]),
        Column(
            "same top token",
            [f"{100 * one.agreement:.1f} %" if one else "" for one in others],
        ),
    ]


def sentences(config: MergeConfig, result: VerificationResult) -> list[str]:
    lines = ["divergence: from the model as trained, in nats per token"]
    if (share := kept_share(result, result.merged)) is not None:
        kept = f"the merged model keeps {100 * share:.0f} % of the fall in held-out loss"
        if result.again and (rest := kept_share(result, result.again)) is not None:
            kept += f", quantized to {config.quant.type.value} again {100 * rest:.0f} %"
        lines.append(kept)
    return lines


def warning(config: MergeConfig, result: VerificationResult) -> str | None:
    """Return a warning if quantizing the merged model again loses too much; otherwise None."""
    if not (result.again and warns(config, result, result.again)):
        return None
    kind = config.quant.type.value
    return (
        f"Quantized to {kind} again, the merged model differs from the trained one by "
        f"{result.again.divergence:.3f} nats per token. For use in {kind} keep the base and the "
        "adapter."
    )


@dataclass(frozen=True)
class Verified(Event):
    """Event: the verification has accepted the merged model."""

    config: MergeConfig
    result: VerificationResult
    dtype: str


def plan(merging: Plan, name: str, out: Path) -> dict[str, str]:
    """Return what is about to be merged, by heading."""
    config = merging.config
    dtype = short(store_in(config, merging.base.dtype))
    files = len(merging.shards)
    return {
        "adapter": f"{name}, {len(merging.adapter.updates)} layers",
        "onto": f"{config.model.source}, {ONTO[config.target]}",
        "out": f"{out}, {file_size(merging.bytes)} in {dtype}, "
        f"{files} {'file' if files == 1 else 'files'}",
    }


def end(merging: Plan, out: Path) -> list[str]:
    """Return the last lines: where the merged model is, and what to do next."""
    config = merging.config
    ours = config.run or (config.adapter and find_run_of_adapter(config.adapter))
    template = config.data.prompt_template if ours else "NAME"  # unknown for a foreign adapter
    ask = quoted_command(
        "generate",
        "model=local",
        ("model.source", out),
        "quant=none",
        ("prompt_template", template),
    )
    publish = quoted_command("publish", ("folder", out), "push=user/name")
    return [f"\nfolder   {out}", f"next     {ask}", f"         {publish}"]
