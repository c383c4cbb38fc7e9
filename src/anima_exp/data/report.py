"""Print the report of a data set: lengths, truncation, problems, and two rows as trained."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anima_exp.data.notes import notes
from anima_exp.data.quality import QualityIssues
from anima_exp.data.rows import Int32Array, TokenizedDataset
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta
from anima_exp.system.terminal import printable

# The quantiles of Anima's length script, which counts BOS with the prompt and EOS with the
# response.
QUANTILES = (0.8, 0.85, 0.9, 0.95, 0.98)
COVERED = 0.98  # proportion of the rows that a recommended limit does not truncate
STEP = 16  # tensor cores work on multiples of it


@dataclass(frozen=True)
class Cut:
    """What a limit does to a set."""

    rows: int
    share: float  # of all rows
    tokens: int
    tokens_share: float  # of all tokens


def quantiles(lengths: Int32Array) -> list[float]:
    """One length for each of QUANTILES, then the longest."""
    return [*np.quantile(lengths, QUANTILES).tolist(), float(lengths.max())]


def share_cut(lengths: Int32Array, limit: int) -> Cut:
    over = np.maximum(lengths.astype(np.int64) - limit, 0)
    rows, tokens = int((over > 0).sum()), int(over.sum())
    return Cut(rows, rows / len(lengths), tokens, tokens / max(int(lengths.sum(dtype=np.int64)), 1))


def recommended(lengths: Int32Array) -> int:
    """The smallest multiple of STEP that leaves at least COVERED of the rows whole."""
    needed = np.quantile(lengths, COVERED, method="inverted_cdf")
    return max(math.ceil(needed / STEP), 1) * STEP  # where every prompt is empty, one STEP


_MOST_LETTERS = 800  # of a row that is shown; the middle of a longer one is left out


@dataclass(frozen=True)
class Found:
    """All that the report says about one set."""

    source: Source
    recipe: str
    tokenizer_name: str
    rows: TokenizedDataset  # every example, in the source's order
    meta: Meta
    faults: QualityIssues
    heldout: int
    leaked: int  # held-out examples that are trained on too
    split_error: str | None  # why no rows can be held out


def show(found: Found, tokenizer: Any, console: Console) -> None:
    meta, rows = found.meta, found.rows
    console.print(
        Text.assemble(
            (found.source.name, "bold"),
            f": {meta.read:,} rows, {len(rows):,} examples "
            f"(recipe {found.recipe}, tokenizer {found.tokenizer_name})",
        )
    )
    console.print(_quantiles(rows))
    console.print(_cuts(rows))
    console.print(_faults(found))
    for heading, line in notes([meta], examples=len(rows), recipe=found.recipe).items():
        console.print(Text(printable(f"{heading}: {line}")))
    for line in meta.shown:
        console.print(Text(printable(line), style="dim"))
    if found.split_error:
        console.print(Text(found.split_error))
    console.print(_recommendation(rows))
    for index in _worth_showing(rows):
        console.print()
        console.print(_row(found, index, tokenizer))


def _table(title: str) -> Table:
    return Table(title, box=SIMPLE_HEAD, pad_edge=False)


def _quantiles(rows: TokenizedDataset) -> Table:
    table = _table("Length in tokens")
    table.add_column("prompt, with BOS", justify="right")
    table.add_column("response, with EOS", justify="right")
    names = [f"{share:.0%} are at most" for share in QUANTILES] + ["longest"]
    prompts = quantiles(rows.full_prompt_lengths)
    responses = quantiles(rows.full_response_lengths)
    for name, prompt, response in zip(names, prompts, responses, strict=True):
        table.add_row(name, f"{prompt:,.0f}", f"{response:,.0f}")
    return table


def _cuts(rows: TokenizedDataset) -> Table:
    table = _table("What the limits cut off")
    for name in ("limit", "rows cut", "of all", "tokens cut", "of all"):
        table.add_column(name, justify="right")
    for key, counted, limit in _limits(rows):
        for which, value in (("", limit), (" (recommended)", recommended(counted))):
            cut = share_cut(counted, value)
            table.add_row(
                f"data.{key}{which}",
                f"{value:,}",
                f"{cut.rows:,}",
                f"{cut.share:.2%}",
                f"{cut.tokens:,}",
                f"{cut.tokens_share:.2%}",
            )
    return table


def _faults(found: Found) -> Table:
    faults, rows = found.faults, found.rows
    table = _table("Problems")
    table.add_column("rows", justify="right")
    for reason, count in sorted(found.meta.reasons.items(), key=lambda item: -item[1])[:10]:
        table.add_row(Text(printable(f"skipped: {reason}")), f"{count:,}")
    without_labels = int((rows.label_counts <= 0).sum())
    table.add_row("identical to an earlier row", f"{faults.repeated:,}")
    table.add_row("same prompt as another row, different response", f"{faults.contradicted:,}")
    table.add_row("contain the text of a special token, such as </s>", f"{found.meta.spelled:,}")
    table.add_row("already begin with BOS or end with EOS", f"{found.meta.ends:,}")
    table.add_row("no label, so nothing to train on", f"{without_labels:,}")
    if found.split_error is None:
        held = f"held out ({found.heldout:,}), but identical to a training row"
        table.add_row(held, f"{found.leaked:,}")
    return table


def _recommendation(rows: TokenizedDataset) -> Text:
    pair = [f"data.{key}={recommended(counted)}" for key, counted, _ in _limits(rows)]
    rule = (
        f"Recommended: the smallest multiples of {STEP} that keep "
        f"{COVERED:.0%} of the prompts and {COVERED:.0%} of the responses complete:"
    )
    return Text.assemble("\n", rule, "\n  ", (" ".join(pair), "bold"))


def _limits(rows: TokenizedDataset) -> list[tuple[str, Any, int]]:
    return [
        ("max_prompt_tokens", rows.full_prompt_lengths, rows.limits.max_prompt),
        ("max_response_tokens", rows.full_response_lengths, rows.limits.max_response),
    ]


def _worth_showing(rows: TokenizedDataset) -> list[int]:
    """The first row, and the first that is cut; the second where none is."""
    over = rows.full_response_lengths > rows.limits.max_response
    over |= rows.full_prompt_lengths > rows.limits.max_prompt
    cut = int(over.argmax()) if over.any() else 1
    return sorted({0, min(cut, len(rows) - 1)})


def _row(found: Found, index: int, tokenizer: Any) -> Text:
    rows = found.rows
    row = rows[index]
    prompt = rows.prompt_ids(index)
    response = row["input_ids"][len(prompt) :]
    place = found.source.place(int(rows.tokens.rows[rows.order[index]]))
    learned = "bold" if not rows.limits.train_on_source else "bold underline"
    return Text.assemble(
        (place, "cyan"),
        f": {_length(len(prompt), rows.full_prompt_lengths[index])} prompt and "
        f"{_length(len(response), rows.full_response_lengths[index])} response tokens; "
        f"the loss is computed on {rows.label_counts[index]}, ",
        ("shown like this", learned),
        ".\n",
        (_shown(tokenizer, prompt), learned if rows.limits.train_on_source else "dim"),
        (_shown(tokenizer, response), learned),
    )


def _length(kept: int, full: int) -> str:
    return f"{kept} of {full}" if kept < full else f"{full}"


def _shown(tokenizer: Any, ids: Any) -> str:
    text = printable(tokenizer.decode(ids.tolist(), skip_special_tokens=False))
    if len(text) > _MOST_LETTERS:
        half = _MOST_LETTERS // 2
        text = f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"
    return text
