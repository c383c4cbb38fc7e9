"""Build the report of what a run trains, from the loaded model and before the first step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anima_exp.config import TargetModules
from anima_exp.libraries.transformers_internals import attention_of
from anima_exp.model.positions import positions_line
from anima_exp.model.varlen_attention import rows_apart
from anima_exp.results.training_report import Kind, KindCounts, TrainingReport

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_WITHOUT = {
    Kind.router: "the router stays frozen",
    Kind.tower: "text does not pass through the vision or audio tower",
    Kind.experts: "the experts have no adapter",
}


def training_report(
    model: "PreTrainedModel | PeftModel", kinds: Sequence[KindCounts], which: TargetModules
) -> TrainingReport:
    """Return the report.

    Args:
        kinds: counted before the base was sharded over processes (module_kinds.py).
        which: the layers that get an adapter.
    """
    return TrainingReport(
        kinds=list(kinds),
        positions=positions_line(model),
        attention=attention_of(model.config.get_text_config()),
        rows_apart=rows_apart(model),
        left_out=[] if which is TargetModules.none else _left_out(kinds, which),
    )


def _left_out(kinds: Sequence[KindCounts], which: TargetModules) -> list[str]:
    found = []
    for one in kinds:
        missed = one.matrices - one.adapted
        if one.kind in _WITHOUT and not one.trained:
            found.append(_WITHOUT[Kind(one.kind)])
        elif one.adapted and missed:
            found.append(f"{missed:,} matrices of {one.kind} have no adapter")
        elif one.kind in (Kind.attention, Kind.feed_forward, Kind.state_space) and missed:
            found.append(f"{one.kind}, by lora.target_modules={which.value}")
    return found
