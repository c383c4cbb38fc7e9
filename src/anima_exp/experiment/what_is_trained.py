"""Build the report of what a run trains, from the loaded model and before the first step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anima_exp.config import DataConfig, RunConfig, TargetModules
from anima_exp.data import formats
from anima_exp.data.chat.summary import ChatSummary
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
    config: RunConfig,
    model: "PreTrainedModel | PeftModel",
    kinds: Sequence[KindCounts],
    chat: ChatSummary | None,
) -> TrainingReport:
    """Return the report.

    Args:
        kinds: counted before the base was sharded over processes (module_kinds.py).
        chat: what is learned from conversations, if the data has some.
    """
    which = config.lora.target_modules
    return TrainingReport(
        kinds=list(kinds),
        positions=positions_line(model),
        attention=attention_of(model.config.get_text_config()),
        rows_apart=rows_apart(model),
        template=_template(config.data, chat),
        left_out=[] if which is TargetModules.none else _left_out(kinds, which),
    )


def _template(data: DataConfig, chat: ChatSummary | None) -> str:
    if chat:
        return f"{chat.template} ({chat.template_hash}), trained on: {data.train_on.value}"
    if data.parts:
        return "each part of the mixture has its own"
    if formats.holds_documents(data.recipe):
        return "none, the loss is computed on all text"
    where = "prompt and response" if data.train_on_source else "the response"
    return f"{data.prompt_template}, the loss is computed on {where}"


def _left_out(kinds: Sequence[KindCounts], which: TargetModules) -> list[str]:
    found = []
    for one in kinds:
        missed = one.matrices - one.adapted
        if one.kind in _WITHOUT and not one.trained:
            found.append(_WITHOUT[Kind(one.kind)])
        elif one.adapted and missed:
            found.append(f"{missed:,} matrices of {one.kind} have no adapter")
        elif one.kind in (Kind.attention, Kind.feed_forward, Kind.state_space) and missed:
            found.append(f"{one.kind} has no adapter (lora.target_modules={which.value})")
    return found
