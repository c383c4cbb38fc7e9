"""Report on a data set of conversations."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.segments import LABELS, Kind, Segment
from anima_exp.data.chat.summary import ChatSummary, lines
from anima_exp.data.notes import notes
from anima_exp.data.quality import QualityIssues
from anima_exp.data.report.choose import first, rows_to_show, texts
from anima_exp.data.report.content import DataReport, Limit, Part, ShownRow, TokenCount
from anima_exp.data.report.lengths import COVERED
from anima_exp.data.rows import Int32Array
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TURNS = {
    Kind.system: "system prompt and tools",
    Kind.user: "user's turn",
    Kind.tool: "tool results",
    Kind.assistant: "answer",
    Kind.prompt: LABELS[Kind.prompt],
}  # segments of these kinds are turns, whose lengths are shown
_STYLES = {Kind.assistant: "answer", Kind.text: "answer"}  # of other kinds: their name
_MESSAGE = re.compile(r"\bmessage \d+\b")
_CUT = "a conversation that is cut"


def chat_report(
    rows: ChatDataset,
    whole: ChatDataset,
    summary: ChatSummary,
    source: Source,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    recipe: str,
    tokenizer_name: str,
    issues: QualityIssues,
    special_rows: Mapping[str, int],
    unshown_tools: str = "",
    heldout: int = 0,
    leaked: int = 0,
    split_error: str | None = None,
    show_rows: int = 3,
    show_row: int | None = None,
) -> DataReport:
    """Return the report.

    Args:
        rows: every row, in the source's order.
        whole: the rows of the same conversations without a limit of their length.
        summary: what is learned from `rows`.
        source: the rows as they are read, for OASST1 the joined trees.
        special_rows: source rows to show, by the reason.
        unshown_tools: the location of a row with tools, if the template does not show tools.
        heldout: how many rows are held out, of which `leaked` are in the training split too.
        split_error: why no rows can be held out.
        show_rows: how many rows to show, or of `show_row`, the number of a source row.

    Raises:
        DataError: if nothing of the source row `show_row` is trained on.
    """
    meta = rows.tokens.meta
    conversations = meta.chat.get("conversations", 0)
    facts = lines(summary)
    del facts["tokens"]  # they have a table
    shown = rows_to_show(
        rows, source, _reasons(rows, whole, summary, special_rows), count=show_rows, number=show_row
    )
    remarks = notes([meta], examples=len(rows), recipe=recipe)
    if unshown_tools:
        remarks["tools"] = (
            "the template does not show the model the tools that it may call "
            f"(first: {unshown_tools})"
        )
    cut = _tokens_before(whole, rows, shown, limit=summary.max_tokens)
    leaks = {f"held out ({heldout:,}), but identical to a training row": leaked}
    return DataReport(
        name=source.name,
        size=f"{meta.read:,} rows, {conversations:,} conversations, "
        f"{len(rows):,} training rows (recipe {recipe}, tokenizer {tokenizer_name})",
        facts=facts,
        tokens=[
            TokenCount(label, summary.tokens[label], kind.is_trained)
            for kind, label in LABELS.items()
            if label in summary.tokens
        ],
        lengths={"row": whole.lengths, **_turns(whole)},
        limits=[Limit("data.max_tokens", summary.max_tokens, whole.lengths)],
        limits_title="Rows longer than the limit",
        limit_columns=("longer rows", "tokens beyond"),
        kept=f"{COVERED:.0%} of the rows",
        problems=_problems(meta, issues) | ({} if split_error else leaks),
        remarks=remarks,
        skipped=meta.shown,
        counts={
            "rows": meta.read,
            "conversations": conversations,
            "answers": summary.answers,
            "tokens": sum(summary.tokens.values()),
            "skipped": meta.skipped,
        },
        rows=[
            shown_row(rows, source, index, why, cut.get(index, 0), tokenizer)
            for index, why in shown.items()
        ],
        split_error=split_error,
    )


def _turns(rows: ChatDataset) -> dict[str, Int32Array]:
    """Return the lengths of single turns by what they are."""
    found: dict[Kind, list[int]] = {kind: [] for kind in _TURNS}
    for index in range(len(rows)):
        for one in rows.segments(index):
            if one.kind in found:
                found[one.kind].append(one.end - one.start)
    return {
        _TURNS[kind]: np.array(lengths, dtype=np.int32)
        for kind, lengths in found.items()
        if lengths
    }


def skipped(meta: Meta) -> dict[str, int]:
    """Return how many rows were skipped, by reason. The numbers of messages are left out."""
    reasons: Counter[str] = Counter()
    for reason, count in meta.reasons.items():
        reasons[_MESSAGE.sub("a message", reason)] += count
    return {f"skipped: {reason}": count for reason, count in reasons.most_common(10)}


def _problems(meta: Meta, issues: QualityIssues) -> dict[str, int]:
    return skipped(meta) | {
        "dropped, because it does not fit into data.max_tokens": meta.chat.get("dropped", 0),
        "identical to an earlier row": issues.repeated,
        "same questions as another row, different last answer": issues.contradicted,
        "contain a control token as text": meta.chat.get("spelled", 0),
    }


def _reasons(
    rows: ChatDataset, whole: ChatDataset, summary: ChatSummary, special_rows: Mapping[str, int]
) -> Sequence[tuple[str, int | None]]:
    numbers = np.array([rows.source_row(index) for index in range(len(rows))])
    long = [whole.source_row(int(i)) for i in np.flatnonzero(whole.lengths > summary.max_tokens)]
    special = [(reason, first(numbers == number)) for reason, number in special_rows.items()]
    return [
        ("the first row", 0),
        ("the longest row", int(rows.lengths.argmax())),
        *special,
        (_CUT, first(np.isin(numbers, long))),
        ("earlier turns not trained on", first(rows.tokens_by_kind[:, Kind.history] > 0)),
    ]


def _tokens_before(
    whole: ChatDataset, rows: ChatDataset, shown: Mapping[int, str], *, limit: int
) -> dict[int, int]:
    """Return how many tokens the conversations of the shown rows have, if they are too long."""
    numbers = np.array([whole.source_row(index) for index in range(len(whole))])
    longest = {
        index: int(whole.lengths[numbers == rows.source_row(index)].max()) for index in shown
    }
    return {index: tokens for index, tokens in longest.items() if tokens > limit}


def shown_row(
    rows: ChatDataset,
    source: Source,
    index: int,
    reason: str,
    before: int,
    tokenizer: "PreTrainedTokenizerBase",
) -> ShownRow:
    """Return a row with the texts of its segments.

    Args:
        before: how many tokens the conversation had before it was cut; 0 if it was not.
    """
    ids, segments = rows[index]["input_ids"], rows.segments(index)
    decoded = texts(tokenizer, ids, [one.end for one in segments])
    answers = sum(one.kind is Kind.assistant for one in segments)
    what = f"in {answers:,} answer{'' if answers == 1 else 's'}" if answers else "in all"
    of = f" of {before:,}" if before else ""
    return ShownRow(
        location=source.locate(rows.source_row(index)),
        heading=f"{source.unit.capitalize()} {rows.source_row(index):,}",
        reason=reason,
        description=f"{len(ids):,}{of} tokens; "
        f"the loss is computed on {rows.label_counts[index]:,} {what}",
        parts=[_part(one, text) for one, text in zip(segments, decoded, strict=True)],
    )


def _part(segment: Segment, text: str) -> Part:
    return Part(
        text=text,
        style=_STYLES.get(segment.kind, segment.kind.name),
        label=LABELS[segment.kind],
        tokens=segment.end - segment.start,
        trained=segment.kind.is_trained,
        message=segment.message + 1 if segment.message >= 0 else -1,
    )
