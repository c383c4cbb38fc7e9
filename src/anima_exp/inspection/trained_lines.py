"""Describe what a finished run trained, from the report in its record."""

from anima_exp.data.chat import summary
from anima_exp.data.chat.summary import ChatSummary
from anima_exp.results import training_report
from anima_exp.results.record import Record
from anima_exp.results.training_report import TrainingReport


def trained_lines(record: Record | None) -> dict[str, str]:
    """Return what the run trained as a few lines by their headings.

    Without a record there are none. A record that has no report gives the parameters only.
    """
    if record is None:
        return {}
    found = {"trains": _parameters(record.parameters)}
    if record.report:
        found |= training_report.lines(TrainingReport.of(record.report))
    if record.chat:
        found["template"] = _template(ChatSummary.of(record.chat))
    return {heading: text for heading, text in found.items() if text}


def _parameters(counts: dict[str, int]) -> str:
    trainable, total = counts.get("trainable"), counts.get("total")
    if trainable is None or not total:
        return ""
    return f"{trainable:,} of {total:,} parameters, {trainable / total:.2%}".replace("%", " %")


def _template(chat: ChatSummary) -> str:
    """Return the chat lines on the template, which say more than the report's."""
    lines = summary.lines(chat)
    return f"{lines['template']}; trained on {lines['trained on']}"
