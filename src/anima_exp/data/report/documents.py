"""Report on a data set of documents, which are trained on as a whole."""

from typing import TYPE_CHECKING

import numpy as np

from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.segments import LABELS, Kind
from anima_exp.data.documents import documents_line
from anima_exp.data.notes import notes
from anima_exp.data.quality import QualityIssues
from anima_exp.data.report.choose import first, rows_to_show
from anima_exp.data.report.content import DataReport, TokenCount
from anima_exp.data.report.conversations import shown_row, skipped
from anima_exp.data.rows import Int32Array
from anima_exp.data.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def document_report(
    rows: ChatDataset,
    source: Source,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    max_tokens: int,
    recipe: str,
    tokenizer_name: str,
    issues: QualityIssues,
    heldout: int = 0,
    leaked: int = 0,
    split_error: str | None = None,
    show_rows: int = 3,
    show_row: int | None = None,
) -> DataReport:
    """Return the report. The arguments are those of `chat_report`.

    Raises:
        DataError: if nothing of the source row `show_row` is trained on.
    """
    meta = rows.tokens.meta
    documents, first_rows = _documents(rows)
    tokens, trained = int(rows.lengths.sum(dtype=np.int64)), int(rows.label_counts.sum())
    divided = first(documents > rows.lengths[first_rows])
    reasons = (
        ("the first row", 0),
        ("a document of several rows", None if divided is None else int(first_rows[divided])),
    )
    shown = rows_to_show(rows, source, reasons, count=show_rows, number=show_row)
    leaks = {f"held out ({heldout:,}), but identical to a training row": leaked}
    return DataReport(
        name=source.name,
        size=f"{meta.read:,} rows, {len(documents):,} documents, {len(rows):,} training rows "
        f"(recipe {recipe}, tokenizer {tokenizer_name})",
        facts={
            "documents": documents_line([meta], len(rows), max_tokens),
            "trained on": f"{trained:,} of {tokens:,} tokens ({trained / max(tokens, 1):.1%}); "
            "nothing precedes the first of each row",
        },
        tokens=[TokenCount(LABELS[Kind.text], tokens, True)],
        lengths={"document": documents, "row": rows.lengths},
        limits=[],
        limits_title="",
        limit_columns=("", ""),
        kept="",
        problems=skipped(meta)
        | {
            "identical to an earlier row": issues.repeated,
            "contain the text of a special token, such as </s>": meta.spelled,
            "already begin with BOS or end with EOS": meta.ends,
        }
        | ({} if split_error else leaks),
        remarks=notes([meta], examples=len(rows), recipe=recipe),
        skipped=meta.shown,
        counts={
            "rows": meta.read,
            "documents": len(documents),
            "tokens": tokens,
            "skipped": meta.skipped,
        },
        rows=[shown_row(rows, source, index, why, 0, tokenizer) for index, why in shown.items()],
        split_error=split_error,
    )


def _documents(rows: ChatDataset) -> tuple[Int32Array, Int32Array]:
    """Return the length of each document, and its first row.

    A row begins with the last token of the one before it.
    """
    numbers = np.array([rows.source_row(index) for index in range(len(rows))])
    _, starts, counts = np.unique(numbers, return_index=True, return_counts=True)
    totals = np.add.reduceat(rows.lengths, starts) - (counts - 1)
    return totals.astype(np.int32), starts.astype(np.int32)
