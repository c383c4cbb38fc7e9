import pytest
import torch
from support.small_models import small, some_rows

from anima_exp.data.micro_batch import pack_rows
from anima_exp.errors import ModelError
from anima_exp.model import architecture_check, varlen_attention
from anima_exp.model.architecture_check import probe_architecture
from anima_exp.model.forward import loss_of
from anima_exp.model.linear_layers import linear_layers
from anima_exp.model.varlen_attention import (
    packed_attention,
    packing_obstacle,
    supports_packing,
)

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
        ("gemma2", {}, True),  # with a soft cap of its scores
        ("llama4", {}, True),  # with attention inside of chunks
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, True),
        ("falcon_h1", MAMBA | {"lm_head_multiplier": 0.5}, True),
        ("mamba2", {}, True),
        ("nemotron", {}, False),  # it passes its attention no borders
        ("falcon", {}, False),  # its attention cannot be replaced
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


@pytest.mark.parametrize("family", ["lfm2", "falcon_h1", "mamba2"])
def test_without_calls_by_row_the_mixers_of_a_hybrid_leak(family, monkeypatch):
    monkeypatch.setattr(varlen_attention, "mixers", lambda model: [])
    how = {"layer_types": ["conv", "full_attention"]} if family == "lfm2" else {}
    model = small(family, **how | (MAMBA if family == "falcon_h1" else {})).eval()
    architecture_check.probe_architecture(model)
    assert not supports_packing(model)


def test_attention_that_is_never_ours_is_no_reason_to_pack(monkeypatch):
    """GPT's own attention of 2018 hardly changes a random model: too little to see a leak."""
    import transformers

    torch.manual_seed(0)
    config = transformers.OpenAIGPTConfig(
        vocab_size=97, n_embd=64, n_layer=2, n_head=4, n_positions=64, attn_pdrop=0, embd_pdrop=0,
        resid_pdrop=0,
    )  # fmt: skip
    model = transformers.OpenAIGPTLMHeadModel(config).requires_grad_(False).eval()
    architecture_check.probe_architecture(model)
    assert packing_obstacle(model) == "its attention cannot be replaced"


def test_a_model_that_reads_later_tokens_is_refused():
    import transformers

    config = transformers.XLMConfig(
        vocab_size=97, emb_dim=32, n_layers=1, n_heads=2, max_position_embeddings=32, causal=False,
        n_langs=1,
    )  # fmt: skip
    model = transformers.XLMWithLMHeadModel(config).requires_grad_(False).eval()
    with pytest.raises(ModelError, match=r"XLMWithLMHeadModel computes the logits of a token from"):
        architecture_check.probe_architecture(model)


def test_a_model_that_fails_on_text_is_one_line():
    model = small().eval()
    model.model.layers[0].mlp.forward = lambda x: x[..., :3]
    with pytest.raises(ModelError, match=r"LlamaForCausalLM fails on a short row of text: .*none"):
        architecture_check.probe_architecture(model)


def test_logits_that_ours_are_not_are_refused():
    model = small().eval()
    model.lm_head.register_forward_hook(lambda module, inputs, output: output * 2)
    with pytest.raises(ModelError, match=r"computes its logits in a way that is not supported"):
        architecture_check.probe_architecture(model)


def test_a_layer_whose_input_is_cast_to_the_type_of_its_packed_weight_is_refused():
    model = small("llama").eval()
    layer, product = model.model.layers[1].self_attn.q_proj, torch.nn.Linear(64, 64, bias=False)
    layer.forward = lambda x: product(x.float())  # as a 4-bit layer takes any type
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(torch.uint8),))
    with pytest.raises(ModelError, match=r"casts the input of model\.layers\.1\.self_attn\.q_proj"):
        probe_architecture(model)


def test_one_expert_among_linear_layers_that_is_reached_is_enough():
    model = small("llama").eval()
    block = model.model.layers[0].mlp
    block.experts = torch.nn.ModuleList(torch.nn.Linear(64, 64, bias=False) for _ in range(3))
    block.register_forward_pre_hook(lambda module, inputs: (module.experts[0](inputs[0]),))
    probe_architecture(model)
    assert all(one.seen for one in linear_layers(model))
