import pytest
import torch

from anima_exp.errors import TrainingError
from anima_exp.self_check import self_check

FEW = ("data.max_rows=64", "data.heldout_rows=8", "trainer.batch_size=8", "trainer.max_steps=2",
       "evals=[]", "tracking=none")  # fmt: skip


@pytest.mark.parametrize(
    "how", [(), ("trainer.loss_normalization=row",), ("quant=int8",), ("trainer.precision=bf16",)]
)
def test_both_ways_of_computing_a_batch_agree(compose, capsys, how):
    self_check(compose(*FEW, *how))
    said = capsys.readouterr().out
    assert "8 rows, " in said and "dropout off" in said
    assert said.rstrip().endswith("the same, to rounding")


def test_a_wrong_gradient_would_be_seen(compose, monkeypatch):
    from anima_exp.model import lora_linear

    right = lora_linear._forward

    def wrong(layer, x, *args, **kwargs):
        return right(layer, x, *args, **kwargs) * 1.01

    monkeypatch.setattr(lora_linear, "_forward", wrong)
    with pytest.raises(TrainingError, match=r"differ by .* of their norm, more than rounding"):
        self_check(compose(*FEW))


def test_rows_that_see_each_other_would_be_seen(compose, monkeypatch):
    from anima_exp.model import architecture_check, varlen_attention

    def together(query, key, value, lengths, scaling, *_):
        found = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling
        )
        return found.transpose(1, 2)

    monkeypatch.setattr(varlen_attention, "_row_by_row", together)
    monkeypatch.setattr(architecture_check, "_obstacle", lambda *_: None)  # else it helps itself
    with pytest.raises(TrainingError, match="more than rounding explains"):
        self_check(compose(*FEW))


def test_the_base_s_own_dropout_is_off(compose, tmp_path, capsys):
    import shutil

    from support.small_models import small

    from anima_exp.system.paths import tiny_base

    own = {"dropout": 0.1, "layerdrop": 0.1, "max_position_embeddings": 512}
    small("opt", vocab_size=1024, **own).save_pretrained(tmp_path)
    for file in tiny_base().glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    self_check(compose(*FEW, "model=local", f"model.source={tmp_path}", "trainer.precision=fp32"))
    assert capsys.readouterr().out.rstrip().endswith("the same, to rounding")
