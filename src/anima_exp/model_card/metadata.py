"""Write, change and check the YAML front matter of a model card, which the hub reads.

A merged adapter is a `finetune` on the hub, where `merge` means a mixture of several models.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from anima_exp.config.data import GENERATED
from anima_exp.model_card import origin
from anima_exp.results.record import Record

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_HEAD = re.compile(r"\A---\n(?P<yaml>.*?\n)---\n", re.DOTALL)
_FOUR_BITS = ("nf4", "fp4")
UNDECIDED = "other"


def front_matter(
    record: Record, *, merged: bool = False, results: "Sequence[EvalResult]" = ()
) -> str:
    """Return the front matter of a run's card, between two lines of dashes.

    Unknown fields are left out, and an unknown licence is `other`.

    Args:
        merged: the run's adapter has been merged into its base.
        results: scores of what the card describes.
    """
    settings = record.settings
    whole = merged or record.is_full_finetune
    sets = [*origin.data_origins(settings).values()]
    known = (origin.of_data(one.name) for one in sets)
    languages = [one.language for one in known if one and one.language]
    head = _begun(
        origin.base_origin(settings, record.base_fingerprint), licence(record), whole=whole
    )
    if languages:
        head["language"] = [*dict.fromkeys(languages)]
    if ids := [one.hub_id for one in sets if one.hub_id]:
        head["datasets"] = [*dict.fromkeys(ids)]
    four_bits = settings["quant.type"] in _FOUR_BITS
    head["tags"] = ["anima-exp", *([] if whole else ["lora"]), *(["qlora"] if four_bits else [])]
    if results:
        head |= {"model_name": record.name, "eval_results": list(results)}
    return _written(head)


def of_merged_adapter(base: origin.Base) -> str:
    """Return the front matter of a merged adapter whose training is unknown."""
    return _written(_begun(base, UNDECIDED, whole=True) | {"tags": ["anima-exp"]})


def with_base(card: str, hub_id: str) -> str:
    """Return the card with `hub_id` as the base in its front matter."""
    found = _HEAD.match(card)
    if not found:
        return card
    head = read(card)
    whole = head.get("library_name") == "transformers"
    kept = {key: value for key, value in head.items() if not key.startswith("base_model")}
    # Not by ModelCard: it drops what a publisher added to `model-index`.
    text = yaml.safe_dump(_of_base(hub_id, whole=whole) | kept, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n{card[found.end() :]}"


def read(card: str) -> dict[str, Any]:
    """Return the front matter of a card; {} if there is none.

    Raises:
        yaml.YAMLError: if it is not valid YAML.
    """
    found = _HEAD.match(card)
    head = yaml.safe_load(found["yaml"]) if found else {}
    return head if isinstance(head, dict) else {}


def check(card: str) -> None:
    """Check the front matter as huggingface_hub reads it, without the network.

    Raises:
        yaml.YAMLError: it is not valid YAML.
        ValueError: it is not a mapping, or its `model-index` is not one.
    """
    if _HEAD.match(card):  # a card without one may be published
        from huggingface_hub import ModelCard

        ModelCard(card)


def licence(record: Record) -> str:
    """Return the licence as the hub spells it. It is known only for the tiny base and its data."""
    ours = (
        record.settings["model.source"] == "tiny"
        and origin.data_origin(record.settings).name in GENERATED
    )
    return "apache-2.0" if ours else UNDECIDED


def _begun(base: origin.Base, chosen: str, *, whole: bool) -> dict[str, Any]:
    return {
        **(_of_base(base.hub_id, whole=whole) if base.hub_id else {}),
        "library_name": "transformers" if whole else "peft",
        "pipeline_tag": "text-generation",
        "license": chosen,
    }


def _of_base(hub_id: str, *, whole: bool) -> dict[str, Any]:
    return {"base_model": hub_id, "base_model_relation": "finetune" if whole else "adapter"}


def _written(head: dict[str, Any]) -> str:
    from huggingface_hub import ModelCardData

    data = ModelCardData(**head)
    text = f"---\n{data.to_yaml(original_order=list(head))}\n---\n"
    check(text)  # to_yaml writes any Python object; the hub reads plain values only
    return text
