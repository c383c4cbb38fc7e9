"""A run that has just been measured -> its model card."""

from typing import Any

from anima_exp.card.scores import Measured
from anima_exp.card.text import card
from anima_exp.results.journal import Journal
from anima_exp.results.record import Record


def of_run(record: Record, journal: Journal, model: Any, tokenizer: Any) -> str:
    """`model` has an adapter, or is trained whole."""
    return card(
        record,
        before=Measured(record.scores_before, journal.accuracies(0)),
        after=Measured(record.scores, journal.accuracies(record.steps)),
        modules=_modules(model),
        begin=tokenizer.bos_token or "",
        end=tokenizer.eos_token,
    )


def _modules(model: Any) -> list[str]:
    """The last parts of their names: q_proj, v_proj, ..."""
    adapters = getattr(model, "peft_config", {})
    named = {name for one in adapters.values() for name in one.target_modules}
    return sorted({name.rpartition(".")[2] for name in named})
