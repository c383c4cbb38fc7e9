"""A run -> its model card: as it has just been measured, or from what it left in its folder."""

from pathlib import Path
from typing import Any

from anima_exp import finished, json_text
from anima_exp.card.merged import Merged
from anima_exp.card.scores import Measured, Rows
from anima_exp.card.text import card
from anima_exp.errors import RunError
from anima_exp.results.journal import ACCURACIES, Journal
from anima_exp.results.lines import StepLines
from anima_exp.results.record import Record


def of_run(record: Record, journal: Journal, model: Any, tokenizer: Any) -> str:
    """`model` has an adapter, or is trained whole."""
    adapters = getattr(model, "peft_config", {})
    named = {name for one in adapters.values() for name in one.target_modules}
    return card(
        record,
        before=Measured(record.scores_before, journal.accuracies(0)),
        after=Measured(record.scores, journal.accuracies(record.left_at)),
        modules=_last_parts(named),
        begin=tokenizer.bos_token or "",
        end=tokenizer.eos_token,
    )


def of_folder(run: Path, trained: Path, merge: Merged | None = None) -> str:
    """The same card, of a finished run.

    Args:
        trained: the folder of its adapter or model.
        merge: how that adapter was folded into its base: then it is the card of what came of it.
    """
    record = finished.record(run)
    rows = StepLines(run / ACCURACIES).rows()
    tokenizer = _table(trained / "tokenizer_config.json")
    adapter = trained / "adapter_config.json"
    named = _table(adapter).get("target_modules") or () if adapter.exists() else ()
    return card(
        record,
        before=Measured(record.scores_before, _at(0, rows)),
        after=Measured(record.scores, _at(record.left_at, rows)),
        modules=_last_parts(named),
        begin=_text(tokenizer.get("bos_token")),
        end=_text(tokenizer.get("eos_token")),
        merge=merge,
    )


def _table(file: Path) -> dict[str, Any]:
    try:
        return json_text.read_table(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{file} cannot be read: {reason}.") from error


def _at(step: int, rows: Rows) -> Rows:
    return [row for row in rows if row["step"] == step]


def _last_parts(names: Any) -> list[str]:
    """q_proj, v_proj, ..."""
    return sorted({name.rpartition(".")[2] for name in names})


def _text(token: Any) -> str:
    """A special token as its configuration holds it: null, a text, or an object with one."""
    return str(token["content"] if isinstance(token, dict) else token or "")
