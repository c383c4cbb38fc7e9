"""An adapter folded into its base -> what that model's card says, or without a run all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.card import facts, loading, origin
from anima_exp.card.front_matter import of_merged_adapter
from anima_exp.card.markup import fenced, plain, section
from anima_exp.tables import markdown
from anima_exp.tables.column import Column

_NO_PROMPT = "A QUESTION IN THE FORMAT THAT THE ADAPTER WAS TRAINED ON"


@dataclass(frozen=True)
class Merged:
    """A merge, as its card tells of it."""

    told: facts.Facts  # what was folded into what
    proof: Sequence[Column]  # how far it is from the model as trained; empty: nobody measured
    sentences: Sequence[str]  # what is to be known of the proof
    dtype: str  # of the weights: bf16, fp16, fp32
    remote_code: bool  # the model's own code is needed to load it

    def loading(self, prompt: str) -> str:
        return loading.of_model(prompt, dtype=self.dtype, remote_code=self.remote_code)


def opening(name: str, merge: Merged) -> list[str]:
    """Title, what it is, and how it was made."""
    proof = markdown.table(merge.proof) + "\n" if merge.proof else ""
    return [
        f"# {plain(name)}, merged\n",
        "A LoRA adapter folded into its base by anima-exp: a model for plain transformers.\n",
        section("Merge", merge.told),
        proof + "".join(f"{plain(one)}\n" for one in merge.sentences),
    ]


def card(name: str, settings: Mapping[str, Any], fingerprint: str, merge: Merged) -> str:
    """Markdown, where nothing is known of the adapter's training.

    Args:
        name: the adapter's.
        settings, fingerprint: of the base.
    """
    base = origin.base(settings, fingerprint)
    named = facts.base_named(settings, base)
    parts = [
        *opening(name, merge),
        section("Base", named),
        "## Data, scores, training\n\nNot known here: see the adapter's own card.\n",
        f"## How to load it\n\n{fenced(merge.loading(_NO_PROMPT), 'python')}",
        "## Licence\n\nNot chosen yet: the head of this file says `other` until whoever publishes "
        f"it chooses. It may allow no more than base ({plain(dict(named)['licence'])}), adapter "
        "and the adapter's data do.\n",
    ]
    return of_merged_adapter(base) + "\n" + "\n".join(parts)
