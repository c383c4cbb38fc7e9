"""Report on a data set of documents."""

from typing import TYPE_CHECKING

import numpy as np

from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.segments import LABELS, Kind
from anima_exp.data.documents import documents_line
from anima_exp.data.notes import notes
from anima_exp.data.quality import QualityIssues
from anima_exp.data.report.choose import first, rows_to_show, texts
from anima_exp.data.report.content import DataReport, Limit, Part, ShownRow, TokenCount
from anima_exp.data.report.lengths import COVERED
from anima_exp.data.rows import Int32Array
from anima_exp.data.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def document_report(
    rows: ChatDataset,
    source: Source,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    recipe: str,
    tokenizer_name: str,
    max_tokens: int,
    issues: QualityIssues,
    heldout: int = 0,
    leaked: int = 0,
    split_error: str | None = None,
    show_rows: int = 3,
    show_row: int | None = None,
) -> DataReport:
    """Return the report.

    Args:
        rows: every row, in the source's order.
        heldout: how many rows are held out, of which `leaked` are in the training split too.
        split_error: why no rows can be held out.
        show_rows: how many rows to show, or of `show_row`, the number of a source row.

    Raises:
        DataError: if nothing of the source row `show_row` is trained on.
    """
    meta = rows.tokens.meta
    tokens, trained = int(rows.lengths.sum(dtype=np.int64)), int(rows.label_counts.sum())
    lengths = _document_lengths(rows)
    reasons = (
        ("the first row", 0),
        ("the first row of a divided document", first(np.diff(rows.tokens.rows) == 0)),
        ("the shortest row", int(rows.lengths.argmin())),
    )
    shown = rows_to_show(rows, source, reasons, count=show_rows, number=show_row)
    problems = {f"skipped: {reason}": count for reason, count in meta.reasons.items()} | {
        "identical to an earlier row": issues.repeated,
        "contain the text of a special token, such as </s>": meta.spelled,
        "already begin with BOS or end with EOS": meta.ends,
    }
    if not split_error:
        problems[f"held out ({heldout:,}), but identical to a training row"] = leaked
    return DataReport(
        name=source.name,
        size=f"{meta.read:,} {source.unit}s, {meta.chat.get('documents', 0):,} documents "
        f"(recipe {recipe}, tokenizer {tokenizer_name})",
        facts={
            "documents": documents_line([meta], len(rows), max_tokens),
            "trained on": f"{trained:,} of {tokens:,} tokens: all but the first of each row "
            "(BOS, or the last token of the row before)",
        },
        tokens=[TokenCount(LABELS[Kind.text], tokens, True)],
        lengths={"document": lengths, "row": rows.lengths},
        limits=[Limit("data.max_tokens", max_tokens, lengths)],
        limits_title="Documents longer than a row",
        limit_columns=("divided", "tokens beyond"),
        kept=f"{COVERED:.0%} of the documents in one row",
        problems=problems,
        remarks=notes([meta], examples=len(rows), recipe=recipe),
        skipped=meta.shown,
        counts={
            "documents": meta.chat.get("documents", 0),
            "rows": len(rows),
            "tokens": tokens,
            "skipped": meta.skipped,
        },
        rows=[_row(rows, source, index, why, tokenizer) for index, why in shown.items()],
        split_error=split_error,
    )


def _document_lengths(rows: ChatDataset) -> Int32Array:
    """Return the tokens of each document. A document begins with every row of a new source row.

    If a source row holds several documents, they count as one.
    """
    _, starts = np.unique(rows.tokens.rows, return_index=True)
    tokens = np.add.reduceat(rows.lengths, starts)
    divided = np.diff(np.append(starts, len(rows)))
    lengths: Int32Array = (tokens - (divided - 1)).astype(np.int32)  # rows overlap by one token
    return lengths


def _row(
    rows: ChatDataset,
    source: Source,
    index: int,
    reason: str,
    tokenizer: "PreTrainedTokenizerBase",
) -> ShownRow:
    ids = rows[index]["input_ids"]
    [text] = texts(tokenizer, ids, [len(ids)])
    return ShownRow(
        location=source.locate(rows.source_row(index)),
        heading=f"{source.unit.capitalize()} {rows.source_row(index):,}",
        reason=reason,
        description=f"{len(ids):,} tokens; the loss is computed on {rows.label_counts[index]:,}",
        parts=[Part(text, "answer", LABELS[Kind.text], len(ids), True)],
    )
