"""Packed rows are learnt from as if each were alone."""

from itertools import islice

import torch
from torch.nn import functional

from anima_exp.tiny.pretrain.__main__ import response_loss
from anima_exp.tiny.pretrain.base_model import Recipe, build_model
from anima_exp.tiny.pretrain.corpus import Example, corpus
from anima_exp.tiny.pretrain.packing import IGNORED, WIDTH, encode, pack
from anima_exp.tiny.pretrain.tokenizer import build_tokenizer


def test_a_packed_row_sees_only_itself() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(rows_per_language=500)
    model = build_model(Recipe(layers=2), tokenizer)
    rows = [encode(example, tokenizer) for example in islice(corpus(seed=0), 40)]
    alone, counted = 0.0, 0
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor([row.ids])).logits[0, :-1]
            labels = torch.tensor(row.labels[1:])
            loss = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
            alone, counted = alone + loss.item(), counted + int((labels != IGNORED).sum())
        packed = response_loss(model, pack(rows)).item()
    assert abs(packed - alone / counted) < 1e-4


def test_rows_fit_and_are_hardly_padded() -> None:
    tokenizer = build_tokenizer(rows_per_language=500)
    batch = pack([encode(example, tokenizer) for example in islice(corpus(seed=0), 64)])
    assert batch.ids.shape[1] <= WIDTH
    assert (batch.ids != 0).float().mean() > 0.85


def test_the_loss_is_on_the_response_and_its_end() -> None:
    tokenizer = build_tokenizer(rows_per_language=500)
    row = encode(Example("### Human: Add 1 and 2.### Assistant: ", "3"), tokenizer)
    learnt = [label for label in row.labels if label != IGNORED]
    assert learnt == [*tokenizer.encode("3", add_special_tokens=False), tokenizer.eos_token_id]
    assert row.ids[0] == tokenizer.bos_token_id
