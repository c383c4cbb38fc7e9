"""A proof -> its table and what is to be said of it, for the terminal and for the card."""

from dataclasses import dataclass
from pathlib import Path

from anima_exp.command_line import pasted
from anima_exp.config import MergeConfig, Onto, Quantization
from anima_exp.events import Event
from anima_exp.finished import run_of
from anima_exp.merge import verdict
from anima_exp.merge.plan import Plan, short, store_in
from anima_exp.merge.prove import Proved
from anima_exp.results.screen import file_size
from anima_exp.tables.column import Column

ONTO = {
    Onto.base: "its own weights",
    Onto.dequantized: "the weights it was trained on: in 4 bits, and back",
}
MERGED_ROW = 2  # of the table


def columns(config: MergeConfig, found: Proved, dtype: str) -> list[Column]:
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
            "same first choice",
            [f"{100 * one.agreement:.1f} %" if one else "" for one in others],
        ),
    ]


def sentences(config: MergeConfig, found: Proved) -> list[str]:
    told = ["divergence: from the model as trained, in nats per token"]
    if (share := verdict.kept(found, found.merged)) is not None:
        kept = f"of what was learnt (the fall in loss) the merged model keeps {100 * share:.0f} %"
        if found.again and (rest := verdict.kept(found, found.again)) is not None:
            kept += f", in {config.quant.type.value} again {100 * rest:.0f} %"
        told.append(kept)
    return told


def warning(config: MergeConfig, found: Proved) -> str | None:
    """What rounding it anew would lose, where that is much."""
    if not (found.again and verdict.warns(config, found, found.again)):
        return None
    kind = config.quant.type.value
    return (
        f"Quantised to {kind} again this folder is {found.again.divergence:.3f} nats per token "
        f"away from the trained model. For use in {kind} keep the base with its adapter."
    )


@dataclass(frozen=True)
class Found(Event):
    """The proof has ended well."""

    config: MergeConfig
    found: Proved
    dtype: str


def plan(merging: Plan, name: str, out: Path) -> dict[str, str]:
    """What is about to be merged, by heading."""
    config = merging.config
    dtype = short(store_in(config, merging.base.dtype))
    files = len(merging.shards)
    return {
        "adapter": f"{name}, {len(merging.adapter.updates)} layers",
        "onto": f"{config.model.source}, {ONTO[config.onto]}",
        "out": f"{out}, {file_size(merging.bytes)} in {dtype}, "
        f"{files} {'file' if files == 1 else 'files'}",
    }


def end(merging: Plan, out: Path) -> list[str]:
    """Where the merged model is, and what to do with it next."""
    config = merging.config
    ours = config.run or (config.adapter and run_of(config.adapter))
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
