"""A merge and its proof -> what its folder tells of it: merge.json, and a model card."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp import paths, schema_version
from anima_exp.card import merged, of_run, origin
from anima_exp.card.text import FILE
from anima_exp.config import MergeConfig
from anima_exp.errors import DataError
from anima_exp.finished import name, run_of
from anima_exp.heldout_check import check_heldout
from anima_exp.merge import findings, verdict
from anima_exp.merge.adapter import Adapter
from anima_exp.merge.plan import Plan, short, store_in
from anima_exp.merge.prove import Proved
from anima_exp.model.tokenizer import location
from anima_exp.results import identity, provenance
from anima_exp.results.files import write_json

MERGED = "merge.json"
# The settings that decide what the merged weights are, and what they were proved on.
_DECIDE = ("model.", "quant.", "lora.", "data.", "trainer.precision", "shard_gib", "proof_")


def write(merging: Plan, found: Proved | None, folder: Path) -> None:
    """`found` is None where nothing was measured. Nothing tells of this machine's folders."""
    config, settings = merging.config, identity.flatten(merging.config)
    source, revision = config.model.source, config.model.revision
    cache = paths.cache(config.cache)
    fingerprint = provenance.base_fingerprint(location(source), revision, cache=cache)
    named = origin.without_places(settings)
    values = {
        "adapter": {"of": name(config), "weights": weights(merging.adapter)},
        "base": {"source": named["model.source"], "fingerprint": fingerprint},
        "onto": config.onto.value,
        "dtype": _dtype(merging),
        "proof": asdict(found) if found else None,
        "max_divergence": verdict.allowed(config),
        "settings": {key: one for key, one in named.items() if key.startswith(_DECIDE)},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": provenance.versions(),
        "git": provenance.git_state(),
        "hardware": provenance.hardware(),
    }
    write_json(folder / MERGED, schema_version.stamp(values, schema_version.MERGE))
    merge = _merged(merging, found, settings, fingerprint)
    if config.run:
        run = Path(config.run)
        card = of_run.of_folder(run, run / "adapter", merge)
    else:
        card = merged.card(name(config), settings, fingerprint, merge)
    (folder / FILE).write_text(card, encoding="utf-8")


def weights(adapter: Adapter) -> str:
    return identity.content(str(adapter.file))


def _dtype(merging: Plan) -> str:
    return short(store_in(merging.config, merging.base.dtype))


def _trained_on(config: MergeConfig) -> list[str]:
    """Say so if the adapter may have been trained on the rows of the proof."""
    unknown = not config.run and run_of(config.adapter or "") is None
    try:
        check_heldout(config)
    except DataError:
        unknown = True
    return ["The adapter may have been trained on some of these rows."] * unknown


def _merged(
    merging: Plan, found: Proved | None, settings: dict[str, Any], fingerprint: str
) -> merged.Merged:
    config, dtype = merging.config, _dtype(merging)
    sentences = ["Nobody has measured that this is the trained model (prove=false)."]
    if found:
        rows = f"{origin.data(settings).told} ({origin.heldout(settings)})"
        sentences = [
            f"Measured on {found.labels:,} response tokens of {rows}.",
            *_trained_on(config),
            *(f"{one[0].upper()}{one[1:]}." for one in findings.sentences(config, found)),
        ]
        if warning := findings.warning(config, found):
            sentences.append(warning)
    return merged.Merged(
        told=[
            ("adapter", f"{name(config)}, {len(merging.adapter.updates)} layers"),
            ("its weights", weights(merging.adapter)),
            ("folded into", origin.base(settings, fingerprint).told),
            ("onto", findings.ONTO[config.onto]),
            ("weights", dtype),
        ],
        proof=findings.columns(config, found, dtype) if found else (),
        sentences=sentences,
        dtype=dtype,
        remote_code=config.model.trust_remote_code,
    )
