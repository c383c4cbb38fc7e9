import pytest
import torch
from support.small_models import small, some_rows

from anima_exp.data.micro_batch import pack_rows
from anima_exp.errors import ModelError
from anima_exp.model import architecture_check, varlen_attention
from anima_exp.model.forward import loss_of
from anima_exp.model.varlen_attention import packed_attention, supports_packing

MAMBA = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}


def losses(model, rows):
    """Together if the model keeps rows apart, else alone; and as transformers has it."""
    together = [range(len(rows))] if supports_packing(model) else [[n] for n in range(len(rows))]
    weights = [1.0] * len(rows)
    with torch.no_grad(), packed_attention(model):
        ours = sum(float(loss_of(model, pack_rows(rows, some, weights))) for some in together)
    theirs = 0.0
    for row in rows:
        ids, labels = (torch.as_tensor(row[key])[None] for key in ("input_ids", "labels"))
        with torch.no_grad():
            mean = model(input_ids=ids, labels=labels, use_cache=False).loss
        theirs += float(mean) * int((labels[:, 1:] != -100).sum())
    return ours, theirs


@pytest.mark.parametrize(
    ("family", "how", "apart"),
    [
        ("llama", {}, True),
        ("mistral", {"sliding_window": 4}, True),
        ("gpt2", {}, True),
        ("gemma2", {}, False),  # its scores are bent, which torch's attention cannot
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, False),
        ("falcon_h1", MAMBA | {"lm_head_multiplier": 0.5}, False),
    ],
)
def test_a_model_whose_rows_would_see_each_other_is_computed_row_by_row(family, how, apart):
    model = small(family, **how).eval()
    architecture_check.probe_architecture(model)
    assert supports_packing(model) is apart
    ours, theirs = losses(model, some_rows())
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_leak_that_no_list_knows_is_seen(monkeypatch):
    model = small().eval()
    row_by_row = varlen_attention._row_by_row

    def leaking(query, key, value, lengths, *rest):
        return row_by_row(query, key, value, (sum(lengths),), *rest)

    monkeypatch.setattr(varlen_attention, "_row_by_row", leaking)
    architecture_check.probe_architecture(model)
    assert not supports_packing(model)


def test_logits_that_ours_are_not_are_refused():
    model = small().eval()
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(ModelError, match=r"computes its logits in a way that is not supported"):
        architecture_check.probe_architecture(model)
