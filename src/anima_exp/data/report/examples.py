"""Report on a data set of prompts and responses."""

from typing import TYPE_CHECKING

import numpy as np

from anima_exp.data.notes import notes
from anima_exp.data.quality import QualityIssues
from anima_exp.data.report.choose import first, rows_to_show, texts
from anima_exp.data.report.content import DataReport, Limit, Part, ShownRow, TokenCount
from anima_exp.data.report.lengths import COVERED
from anima_exp.data.rows import ExampleDataset
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def example_report(
    rows: ExampleDataset,
    source: Source,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    recipe: str,
    tokenizer_name: str,
    issues: QualityIssues,
    heldout: int = 0,
    leaked: int = 0,
    split_error: str | None = None,
    show_rows: int = 3,
    show_row: int | None = None,
) -> DataReport:
    """Return the report.

    Args:
        rows: every example, in the source's order.
        heldout: how many examples are held out, of which `leaked` are in the training split too.
        split_error: why no rows can be held out.
        show_rows: how many rows to show, or of `show_row`, the number of a source row.

    Raises:
        DataError: if nothing of the source row `show_row` is trained on.
    """
    meta, limits = rows.tokens.meta, rows.limits
    of_prompt = Limit("data.max_prompt_tokens", limits.max_prompt, rows.full_prompt_lengths)
    of_response = Limit("data.max_response_tokens", limits.max_response, rows.full_response_lengths)
    tokens, trained = int(rows.lengths.sum(dtype=np.int64)), int(rows.label_counts.sum())
    shown = _rows_to_show(rows, source, count=show_rows, number=show_row)
    return DataReport(
        name=source.name,
        size=f"{meta.read:,} rows, {len(rows):,} examples (recipe {recipe}, "
        f"tokenizer {tokenizer_name})",
        facts={
            "trained on": f"{trained:,} of {tokens:,} tokens ({trained / max(tokens, 1):.1%}), "
            "after truncation"
        },
        tokens=_tokens(rows),
        lengths={
            "prompt, with BOS": of_prompt.lengths,
            "response, with EOS": of_response.lengths,
        },
        limits=[of_prompt, of_response],
        limits_title="What the limits cut off",
        limit_columns=("rows cut", "tokens cut"),
        kept=f"{COVERED:.0%} of the prompts and {COVERED:.0%} of the responses",
        problems=_problems(rows, meta, issues)
        | (
            {}
            if split_error
            else {f"held out ({heldout:,}), but identical to a training row": leaked}
        ),
        remarks=notes([meta], examples=len(rows), recipe=recipe),
        skipped=meta.shown,
        counts={
            "rows": meta.read,
            "examples": len(rows),
            "tokens": tokens,
            "skipped": meta.skipped,
        },
        rows=[_row(rows, source, index, why, tokenizer) for index, why in shown.items()],
        split_error=split_error,
    )


def _tokens(rows: ExampleDataset) -> list[TokenCount]:
    prompts = np.minimum(rows.full_prompt_lengths, rows.limits.max_prompt)
    responses = int((rows.lengths - prompts).sum(dtype=np.int64))
    return [
        TokenCount("prompts", int(prompts.sum(dtype=np.int64)), rows.limits.train_on_source),
        TokenCount("responses", responses, True),
    ]


def _problems(rows: ExampleDataset, meta: Meta, issues: QualityIssues) -> dict[str, int]:
    skipped = sorted(meta.reasons.items(), key=lambda item: -item[1])[:10]
    return {f"skipped: {reason}": count for reason, count in skipped} | {
        "identical to an earlier row": issues.repeated,
        "same prompt as another row, different response": issues.contradicted,
        "contain the text of a special token, such as </s>": meta.spelled,
        "already begin with BOS or end with EOS": meta.ends,
        "no token to train on": int((rows.label_counts <= 0).sum()),
    }


def _rows_to_show(
    rows: ExampleDataset, source: Source, *, count: int, number: int | None
) -> dict[int, str]:
    cut = rows.full_response_lengths > rows.limits.max_response
    cut |= rows.full_prompt_lengths > rows.limits.max_prompt
    reasons = (
        ("the first row", 0),
        ("the first row that is cut", first(cut)),
        ("the longest row", int(rows.lengths.argmax())),
    )
    return rows_to_show(rows, source, reasons, count=count, number=number)


def _row(
    rows: ExampleDataset,
    source: Source,
    index: int,
    reason: str,
    tokenizer: "PreTrainedTokenizerBase",
) -> ShownRow:
    row = rows[index]
    prompt = len(rows.prompt_ids(index))
    response = len(row["input_ids"]) - prompt
    both = texts(tokenizer, row["input_ids"], [prompt, prompt + response])
    parts = (
        Part(both[0], "user", "prompt", prompt, rows.limits.train_on_source),
        Part(both[1], "answer", "response", response, True),
    )
    return ShownRow(
        location=source.locate(rows.source_row(index)),
        heading=f"{source.unit.capitalize()} {rows.source_row(index):,}",
        reason=reason,
        description=f"{_length(prompt, rows.full_prompt_lengths[index])} prompt and "
        f"{_length(response, rows.full_response_lengths[index])} response tokens; "
        f"the loss is computed on {rows.label_counts[index]}",
        parts=[part for part in parts if part.tokens],
    )


def _length(kept: int, full: int) -> str:
    return f"{kept} of {full}" if kept < full else f"{full}"
