"""The figures of a proof -> whether the merged model is the trained one, and what is lost later."""

from dataclasses import dataclass
from pathlib import Path

from anima_exp.cli.overrides import pasted
from anima_exp.config import MergeConfig, MergeTarget, Quantization
from anima_exp.display.console import file_size
from anima_exp.display.tables import Column
from anima_exp.errors import ModelError
from anima_exp.events import Event
from anima_exp.inference.saved_model import find_run_of_adapter
from anima_exp.merging.tensor_plan import Plan, short, store_in
from anima_exp.merging.verification import Measured, VerificationResult

# Measured on the tiny base; conf/merge.yaml has the figures.
_ALLOWED = {MergeTarget.base: 0.1, MergeTarget.dequantized: 0.01}
_WORTH_KEEPING = 0.9  # of what was learnt: a light fine-tune can drown in a small divergence


def allowed(config: MergeConfig) -> float:
    return _ALLOWED[config.target] if config.max_divergence is None else config.max_divergence


def refuse(config: MergeConfig, merged: Measured, base: Measured) -> None:
    """Raise ModelError if the merged model is not the one that was trained."""
    limit = allowed(config)
    if merged.divergence <= limit:  # what is no number is none either
        return
    raise ModelError(
        f"The merged model differs from the trained one by {merged.divergence:.4f} nats per token "
        f"(the bare base: {base.divergence:.4f}), which exceeds max_divergence={limit:g}. "
        f"Nothing was written. {_way_out(config)}"
    )


def kept_share(found: VerificationResult, measured: Measured) -> float | None:
    """Share of the fall in held-out loss that is still there; None if training made no fall."""
    fall = found.base.loss - found.trained.loss
    return (found.base.loss - measured.loss) / fall if fall > 0 else None


def warns(config: MergeConfig, found: VerificationResult, again: Measured) -> bool:
    """Whether rounding the merged model anew would cost what a user should know of."""
    share = kept_share(found, again)
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


# A proof -> its table and what is to be said of it, for the terminal and for the card.


ONTO = {
    MergeTarget.base: "its own weights",
    MergeTarget.dequantized: "the weights it was trained on: quantised to 4 bits and dequantised",
}
MERGED_ROW = 2  # of the table


def columns(config: MergeConfig, found: VerificationResult, dtype: str) -> list[Column]:
    """Args: dtype: short, of the merged weights."""
    kind = config.quant.type.value
    base = "base" if config.quant.type is Quantization.none else f"base in {kind}"
    rows = {
        base: found.base,
        f"{base} + adapter, as trained": found.trained,
        f"merged, {dtype}": found.merged,
    }
    if found.again:
        rows[f"merged, {kind} again"] = found.again
    others = [None if one is found.trained else one for one in rows.values()]
    return [
        Column("", list(rows), right=False),
        Column("held-out loss", [f"{one.loss:.4f}" for one in rows.values()]),
        Column("divergence", [f"{one.divergence:.5f}" if one else "" for one in others]),
        Column(
            "same top token",
            [f"{100 * one.agreement:.1f} %" if one else "" for one in others],
        ),
    ]


def sentences(config: MergeConfig, found: VerificationResult) -> list[str]:
    told = ["divergence: from the model as trained, in nats per token"]
    if (share := kept_share(found, found.merged)) is not None:
        kept = f"the merged model keeps {100 * share:.0f} % of the fall in held-out loss"
        if found.again and (rest := kept_share(found, found.again)) is not None:
            kept += f", quantised to {config.quant.type.value} again {100 * rest:.0f} %"
        told.append(kept)
    return told


def warning(config: MergeConfig, found: VerificationResult) -> str | None:
    """What rounding it anew would lose, where that is much."""
    if not (found.again and warns(config, found, found.again)):
        return None
    kind = config.quant.type.value
    return (
        f"Quantised to {kind} again, the merged model differs from the trained one by "
        f"{found.again.divergence:.3f} nats per token. For use in {kind} keep the base and the "
        "adapter."
    )


@dataclass(frozen=True)
class Found(Event):
    """The proof has ended well."""

    config: MergeConfig
    found: VerificationResult
    dtype: str


def plan(merging: Plan, name: str, out: Path) -> dict[str, str]:
    """What is about to be merged, by heading."""
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
    """Where the merged model is, and what to do with it next."""
    config = merging.config
    ours = config.run or (config.adapter and find_run_of_adapter(config.adapter))
    template = config.data.prompt_template if ours else "NAME"  # of another's, nobody has said
    ask = pasted(
        "generate",
        "model=local",
        ("model.source", out),
        "quant=none",
        ("prompt_template", template),
    )
    publish = pasted("publish", ("folder", out), "push=user/name")
    return [f"\nmerged   {out}", f"next     {ask}", f"         {publish}"]
