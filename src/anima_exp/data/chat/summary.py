"""Summarize what a run learns from conversations: overview, record and model card read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anima_exp.data.chat.segments import LABELS

if TYPE_CHECKING:  # a model card reads the summary without numpy
    from anima_exp.data.chat.dataset import ChatDataset
    from anima_exp.data.chat.masks import ChatMasks


@dataclass(frozen=True)
class ChatSummary:
    """What a run learns from conversations. Rows, answers and tokens are those of training."""

    template: str  # its name in data.template
    template_hash: str
    stop_tokens: list[str]  # at which answers end
    rows: int
    answers: int  # trained on
    tokens: dict[str, int]  # by where they come from: segments.LABELS
    trained_tokens: int
    max_tokens: int
    too_long: str
    # Of all conversations that were read, held-out ones included: see chat/tokenize.py, chat/fit.py
    counts: dict[str, int] = field(default_factory=dict)
    dated: bool = False  # the template writes the date of the day on which the rows were read

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "ChatSummary":
        """Return the summary in a record. Fields that this version does not know are left out."""
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__ if name in kept})


def summarize(
    rows: "ChatDataset", masks: "ChatMasks", *, max_tokens: int, too_long: str
) -> ChatSummary:
    """Return what is learned from rows that were made with `masks`."""
    by_kind = rows.tokens_by_kind.sum(axis=0)
    return ChatSummary(
        template=masks.template.name,
        template_hash=masks.template.fingerprint,
        stop_tokens=[str(masks.tokenizer.convert_ids_to_tokens(one)) for one in masks.stop_ids],
        rows=len(rows),
        answers=int(rows.tokens.answer_counts(rows.order).sum()),
        tokens={label: int(by_kind[kind]) for kind, label in LABELS.items() if by_kind[kind]},
        trained_tokens=int(rows.label_counts.sum()),
        max_tokens=max_tokens,
        too_long=too_long,
        counts={name: count for name, count in rows.tokens.meta.chat.items() if count},
        dated="strftime_now" in masks.template.source,
    )


def lines(summary: ChatSummary) -> dict[str, str]:
    """Return the summary as one line for each heading, without those that do not apply."""
    total = sum(summary.tokens.values())
    share = summary.trained_tokens / max(total, 1)
    ends = " and ".join(summary.stop_tokens)
    said = {
        "template": f"{summary.template} ({summary.template_hash}), answers end with {ends}",
        "trained on": (
            f"{_many(summary.answers, 'answer')} in {_many(summary.rows, 'row')}: "
            f"{summary.trained_tokens:,} of {total:,} tokens ({share:.1%})"
        ),
        "tokens": ", ".join(f"{label} {count:,}" for label, count in summary.tokens.items()),
    }
    said |= _shortened(summary)
    counts = summary.counts
    if rows := counts.get("more_rows"):
        said["rewritten"] = (
            "before a later answer, earlier turns are written or encoded otherwise in "
            f"{_many(counts['rewritten'], 'conversation')}, so {_many(rows, 'row')} with "
            f"{counts['more_tokens']:,} tokens are added"
        )
    if answers := counts.get("answers_left_out"):
        said["flags"] = (
            f"{_many(answers, 'answer')} not trained on, because the message says so (train, "
            "weight or loss_weight)"
        )
    if talks := counts.get("untrained"):
        said["left out"] = (
            f"{_many(talks, 'conversation')} in which every answer says that it is not trained on"
        )
    if hidden := counts.get("tools_left_out"):
        said["tools"] = (
            f"{_many(hidden, 'conversation')} with tools that the template does not show; "
            "data.template=chatml and llama3 do"
        )
    if answers := counts.get("lacks_thinking"):
        said["thinking"] = (
            f"{_many(answers, 'answer')} trained on without the thinking of the data, which the "
            "template does not show there (data.thinking)"
        )
    if spelled := counts.get("spelled"):
        said["text"] = (
            f"{_many(spelled, 'conversation')} with a control token in a text, which is encoded "
            "as text (data.special_tokens_in_text)"
        )
    if summary.dated:
        said["date"] = "the template writes the date: that of the day on which rows were read"
    return said


def _shortened(summary: ChatSummary) -> dict[str, str]:
    counts = summary.counts
    long = counts.get("too_long", 0)
    if not long:
        return {}
    results = [
        f"{_many(count, name)} {what}"
        for key, name, what in (
            ("turns_cut", "answer", "left out"),
            ("dropped", "conversation", "dropped whole"),
            ("pieces", "row", "added"),
        )
        if (count := counts.get(key, 0)) > 0
    ]
    return {
        "too long": (
            f"{long:,} of {_many(counts['conversations'], 'conversation')} have more than "
            f"{summary.max_tokens:,} tokens (data.max_tokens, data.too_long={summary.too_long}): "
            f"{', '.join(results) or 'turns are left out until they fit'}"
        )
    }


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"
