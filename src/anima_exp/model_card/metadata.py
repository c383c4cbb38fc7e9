"""Write and change the YAML front matter of a model card, which the hub reads.

A merged adapter is a `finetune` on the hub, where `merge` means a mixture of several models.
"""

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from anima_exp.model_card import origin
from anima_exp.results.record import Record

_HEAD = re.compile(r"\A---\n(?P<yaml>.*?\n)---\n", re.DOTALL)
_FOUR_BITS = ("nf4", "fp4")
UNDECIDED = "other"


def front_matter(record: Record, *, merged: bool = False) -> str:
    """Return the front matter of a run's card, between two lines of dashes.

    Unknown fields are left out, and an unknown licence is `other`.

    Args:
        merged: the run's adapter has been merged into its base.
    """
    settings = record.settings
    whole = merged or record.is_full_finetune
    data = origin.data_origin(settings)
    known_data = origin.of_data(data.name)
    head = _begun(
        origin.base_origin(settings, record.base_fingerprint), licence(record), whole=whole
    )
    if known_data and known_data.language:
        head["language"] = [known_data.language]
    if data.hub_id:
        head["datasets"] = [data.hub_id]
    four_bits = settings["quant.type"] in _FOUR_BITS
    head["tags"] = ["anima-exp", *([] if whole else ["lora"]), *(["qlora"] if four_bits else [])]
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
    return _written(_of_base(hub_id, whole=whole) | kept) + card[found.end() :]


def read(card: str) -> dict[str, Any]:
    """Return the front matter of a card; {} if there is none.

    Raises:
        yaml.YAMLError: if it is not valid YAML.
    """
    found = _HEAD.match(card)
    head = yaml.safe_load(found["yaml"]) if found else {}
    return head if isinstance(head, dict) else {}


def licence(record: Record) -> str:
    """Return the licence as the hub spells it. It is known only for the tiny base and its data."""
    ours = (record.settings["model.source"], origin.data_origin(record.settings).name) == (
        "tiny",
        "sample",
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
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"
