"""Print the report of a data set: lengths, truncation, problems, and two rows as trained."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anima_exp.data.notes import notes
from anima_exp.data.quality import QualityIssues
from anima_exp.data.rows import ExampleDataset, Int32Array
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta
from anima_exp.system.terminal import printable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The quantiles of Anima's length script, which counts BOS with the prompt and EOS with the
# response.
QUANTILES = (0.8, 0.85, 0.9, 0.95, 0.98)
COVERED = 0.98  # proportion of the rows that a recommended limit does not truncate
STEP = 16  # tensor cores work on multiples of it


@dataclass(frozen=True)
class Truncation:
    """How many rows and tokens a limit cuts off."""

    rows: int
    rows_proportion: float
    tokens: int
    tokens_proportion: float


def quantiles(lengths: Int32Array) -> list[float]:
    """Return the length at each of QUANTILES, then the longest."""
    return [*np.quantile(lengths, QUANTILES).tolist(), float(lengths.max())]


def truncation(lengths: Int32Array, limit: int) -> Truncation:
    """Return what `limit` cuts off of rows of these lengths."""
    over = np.maximum(lengths.astype(np.int64) - limit, 0)
    rows, tokens = int((over > 0).sum()), int(over.sum())
    total = max(int(lengths.sum(dtype=np.int64)), 1)
    return Truncation(rows, rows / len(lengths), tokens, tokens / total)


def recommended(lengths: Int32Array) -> int:
    """Return the smallest multiple of STEP that truncates at most 1 - COVERED of the rows."""
    needed = np.quantile(lengths, COVERED, method="inverted_cdf")
    return max(math.ceil(needed / STEP), 1) * STEP  # at least one STEP, even for empty prompts


_MAX_CHARACTERS = 800  # of a row that is shown; the middle of a longer row is left out


@dataclass(frozen=True)
class DatasetSummary:
    """Everything that the report says about one data set."""

    source: Source
    recipe: str
    tokenizer_name: str
    rows: ExampleDataset  # every example, in the source's order
    meta: Meta
    issues: QualityIssues
    heldout: int
    leaked: int  # held-out examples that are identical to a training example
    split_error: str | None  # why no rows can be held out


def show(summary: DatasetSummary, tokenizer: "PreTrainedTokenizerBase", console: Console) -> None:
    """Print the report."""
    meta, rows = summary.meta, summary.rows
    console.print(
        Text.assemble(
            (summary.source.name, "bold"),
            f": {meta.read:,} rows, {len(rows):,} examples "
            f"(recipe {summary.recipe}, tokenizer {summary.tokenizer_name})",
        )
    )
    console.print(_quantiles(rows))
    console.print(_truncations(rows))
    console.print(_problems(summary))
    for heading, line in notes([meta], examples=len(rows), recipe=summary.recipe).items():
        console.print(Text(printable(f"{heading}: {line}")))
    for line in meta.shown:
        console.print(Text(printable(line), style="dim"))
    if summary.split_error:
        console.print(Text(summary.split_error))
    console.print(_recommendation(rows))
    for index in _rows_to_show(rows):
        console.print()
        console.print(_row(summary, index, tokenizer))


def _table(title: str) -> Table:
    return Table(title, box=SIMPLE_HEAD, pad_edge=False)


def _quantiles(rows: ExampleDataset) -> Table:
    table = _table("Length in tokens")
    table.add_column("prompt, with BOS", justify="right")
    table.add_column("response, with EOS", justify="right")
    names = [f"{share:.0%} are at most" for share in QUANTILES] + ["longest"]
    prompts = quantiles(rows.full_prompt_lengths)
    responses = quantiles(rows.full_response_lengths)
    for name, prompt, response in zip(names, prompts, responses, strict=True):
        table.add_row(name, f"{prompt:,.0f}", f"{response:,.0f}")
    return table


def _truncations(rows: ExampleDataset) -> Table:
    table = _table("What the limits cut off")
    for name in ("limit", "rows cut", "of all", "tokens cut", "of all"):
        table.add_column(name, justify="right")
    for key, lengths, limit in _limits(rows):
        for which, value in (("", limit), (" (recommended)", recommended(lengths))):
            cut = truncation(lengths, value)
            table.add_row(
                f"data.{key}{which}",
                f"{value:,}",
                f"{cut.rows:,}",
                f"{cut.rows_proportion:.2%}",
                f"{cut.tokens:,}",
                f"{cut.tokens_proportion:.2%}",
            )
    return table


def _problems(summary: DatasetSummary) -> Table:
    issues, rows = summary.issues, summary.rows
    table = _table("Problems")
    table.add_column("rows", justify="right")
    for reason, count in sorted(summary.meta.reasons.items(), key=lambda item: -item[1])[:10]:
        table.add_row(Text(printable(f"skipped: {reason}")), f"{count:,}")
    without_labels = int((rows.label_counts <= 0).sum())
    table.add_row("identical to an earlier row", f"{issues.repeated:,}")
    table.add_row("same prompt as another row, different response", f"{issues.contradicted:,}")
    table.add_row("contain the text of a special token, such as </s>", f"{summary.meta.spelled:,}")
    table.add_row("already begin with BOS or end with EOS", f"{summary.meta.ends:,}")
    table.add_row("no token to train on", f"{without_labels:,}")
    if summary.split_error is None:
        held = f"held out ({summary.heldout:,}), but identical to a training row"
        table.add_row(held, f"{summary.leaked:,}")
    return table


def _recommendation(rows: ExampleDataset) -> Text:
    pair = [f"data.{key}={recommended(lengths)}" for key, lengths, _ in _limits(rows)]
    rule = (
        f"Recommended: the smallest multiples of {STEP} that keep "
        f"{COVERED:.0%} of the prompts and {COVERED:.0%} of the responses complete:"
    )
    return Text.assemble("\n", rule, "\n  ", (" ".join(pair), "bold"))


def _limits(rows: ExampleDataset) -> list[tuple[str, Int32Array, int]]:
    return [
        ("max_prompt_tokens", rows.full_prompt_lengths, rows.limits.max_prompt),
        ("max_response_tokens", rows.full_response_lengths, rows.limits.max_response),
    ]


def _rows_to_show(rows: ExampleDataset) -> list[int]:
    """Return the first row and the first truncated row, or the second if none is truncated."""
    over = rows.full_response_lengths > rows.limits.max_response
    over |= rows.full_prompt_lengths > rows.limits.max_prompt
    cut = int(over.argmax()) if over.any() else 1
    return sorted({0, min(cut, len(rows) - 1)})


def _row(summary: DatasetSummary, index: int, tokenizer: "PreTrainedTokenizerBase") -> Text:
    rows = summary.rows
    row = rows[index]
    prompt = rows.prompt_ids(index)
    response = row["input_ids"][len(prompt) :]
    location = summary.source.locate(int(rows.tokens.rows[rows.order[index]]))
    trained = "bold" if not rows.limits.train_on_source else "bold underline"
    return Text.assemble(
        (location, "cyan"),
        f": {_length(len(prompt), rows.full_prompt_lengths[index])} prompt and "
        f"{_length(len(response), rows.full_response_lengths[index])} response tokens; "
        f"the loss is computed on {rows.label_counts[index]}, ",
        ("shown like this", trained),
        ".\n",
        (_decoded(tokenizer, prompt), trained if rows.limits.train_on_source else "dim"),
        (_decoded(tokenizer, response), trained),
    )


def _length(kept: int, full: int) -> str:
    return f"{kept} of {full}" if kept < full else f"{full}"


def _decoded(tokenizer: "PreTrainedTokenizerBase", ids: npt.NDArray[np.int64]) -> str:
    text = printable(str(tokenizer.decode(ids.tolist(), skip_special_tokens=False)))
    if len(text) > _MAX_CHARACTERS:
        half = _MAX_CHARACTERS // 2
        text = f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"
    return text
