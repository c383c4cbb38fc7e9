"""In: prompts and responses; out: batches of whole rows packed side by side, almost unpadded.

Rows of all lengths share a batch, so that every step sees the whole mix; batches of like lengths
would be as cheap, but each would hold a kind or two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from transformers import PreTrainedTokenizerBase

from anima_exp.tiny.pretrain.corpus import Example

IGNORED = -100
# Longer than any row of the world.
WIDTH = 96


@dataclass(frozen=True)
class Row:
    ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor


def batches(
    examples: Iterator[Example], rows: int, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Batch]:
    while True:
        yield pack([encode(example, tokenizer) for example in islice(examples, rows)])


def encode(example: Example, tokenizer: PreTrainedTokenizerBase) -> Row:
    """Prompt and response are tokenized apart, as in fine-tuning."""
    prompt = [
        int(tokenizer.bos_token_id),
        *tokenizer.encode(example.prompt, add_special_tokens=False),
    ]
    response = [
        *tokenizer.encode(example.response, add_special_tokens=False),
        int(tokenizer.eos_token_id),
    ]
    return Row(prompt + response, [IGNORED] * len(prompt) + response)


def pack(rows: list[Row]) -> Batch:
    """Longest first, each row into the first line with room; a row sees only itself."""
    lines: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        for line in lines:
            if sum(len(other.ids) for other in line) + len(row.ids) <= WIDTH:
                line.append(row)
                break
        else:
            lines.append([row])
    width = max(sum(len(row.ids) for row in line) for line in lines)
    ids = torch.zeros(len(lines), width, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    positions = torch.zeros_like(ids)
    # Padding is the row 0 of its line.
    row_of = torch.zeros_like(ids)
    for number, line in enumerate(lines):
        start = 0
        for place, row in enumerate(line, start=1):
            end = start + len(row.ids)
            ids[number, start:end] = torch.tensor(row.ids)
            # The first token has no predecessor in its own row to be predicted from.
            labels[number, start:end] = torch.tensor([IGNORED, *row.labels[1:]])
            positions[number, start:end] = torch.arange(len(row.ids))
            row_of[number, start:end] = place
            start = end
    same_row = row_of[:, None, :, None] == row_of[:, None, None, :]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    return Batch(ids, labels, positions, same_row & causal)
