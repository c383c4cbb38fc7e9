"""The fast forward pass against transformers' own, row by row."""

import pytest
import torch
from support.small_models import small, some_rows

from anima_exp.config import (
    ActivationCheckpointing,
    LoraConfig,
    ModelConfig,
    Precision,
    QuantConfig,
    Quantization,
    TargetModules,
)
from anima_exp.data.micro_batch import pack_first_fit, pack_rows, row_weights, token_weights
from anima_exp.model import lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import load_base
from anima_exp.model.dequantized_weights import keep_dequantized
from anima_exp.model.forward import loss_of
from anima_exp.model.varlen_attention import packed_attention, supports_packing
from anima_exp.training.gradient_check import reference_gradients


def adapted(model, dropout=0.0):
    lora = LoraConfig(TargetModules.all_linear, rank=4, alpha=8, dropout=dropout)
    model = add_lora(model, lora).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros would hide what A does
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def gradients(model):
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def ours(model, rows, weights, budget):
    total = 0.0
    with packed_attention(model):
        for chosen in pack_first_fit([len(row["input_ids"]) for row in rows], budget):
            loss = loss_of(model, pack_rows(rows, chosen, weights))
            loss.backward()
            total += float(loss.detach())
    return total, gradients(model)


def plain(model, rows, weights):
    """One row at a time, full logits, PEFT's own forward, the model's own attention and mask."""
    return reference_gradients(model, rows, weights), gradients(model)


def assert_same(found, expected, tolerance=2e-4):
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys() and found[1]
    for name, gradient in expected[1].items():
        difference = (found[1][name] - gradient).norm() / gradient.norm()
        assert difference < tolerance, (name, float(difference))


@pytest.mark.parametrize("weigh", [token_weights, row_weights])
@pytest.mark.parametrize("budget", [1, 30, 1000])
@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "granite", "gemma2"])
def test_rows_in_one_sequence_have_the_gradients_of_rows_apart(family, budget, weigh):
    settings = {"mistral": {"sliding_window": 7}, "granite": {"logits_scaling": 3.0}}
    model = adapted(small(family, **settings.get(family, {})))
    rows = some_rows()
    weights = weigh(rows)
    expected = plain(model, rows, weights)
    lora_linear.install(model)
    if not supports_packing(model):
        assert family == "gemma2"  # whose attention bends its scores
        budget = 1
    assert_same(ours(model, rows, weights, budget), expected)


@pytest.mark.parametrize(
    ("storage", "kept", "tolerance"),
    [
        ("nf4", False, 2e-4),
        ("nf4", True, 2e-4),
        ("fp4", False, 2e-4),
        ("fp4", True, 2e-4),
        ("int8", False, 3e-2),
    ],
)
def test_a_quantized_base_gives_what_peft_makes_of_it(tmp_path, storage, kept, tolerance):
    small(hidden_size=128, head_dim=32).save_pretrained(tmp_path)
    base = load_base(
        ModelConfig("small", str(tmp_path)),
        QuantConfig(Quantization(storage), storage != "int8", Precision.fp32),
        precision=Precision.fp32,
    )
    model = adapted(base)
    rows = some_rows()
    weights = token_weights(rows)
    expected = plain(model, rows, weights)
    lora_linear.install(model)
    if kept:
        before = ours(model, rows, weights, 1000)
        bytes_kept = keep_dequantized(model)
        assert bytes_kept == 4 * sum(m.out_features * m.in_features for m in four_bits(model))
        after = ours(model, rows, weights, 1000)
        assert after[0] == before[0]
        assert all(torch.equal(after[1][name], one) for name, one in before[1].items())
    found = ours(model, rows, weights, 1000)
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() / gradient.norm() < tolerance, name


def four_bits(model):
    from bitsandbytes.nn import Linear4bit

    return [module for module in model.modules() if isinstance(module, Linear4bit)]


def test_gpt2_whose_matrices_lie_the_other_way_learns_row_by_row_or_together():
    model = adapted(small("gpt2", n_embd=64, n_layer=2, n_head=4))
    rows = some_rows()
    weights = token_weights(rows)
    expected = plain(model, rows, weights)
    lora_linear.install(model)
    budget = 1000 if supports_packing(model) else 1
    assert_same(ours(model, rows, weights, budget), expected)


def test_a_row_does_not_see_its_neighbours():
    model = small().eval()
    rows = some_rows((8, 12))
    other = [rows[0], some_rows((12,), seed=5)[0]]
    weights = [1.0, 0.0]
    with packed_attention(model), torch.no_grad():
        losses = [loss_of(model, pack_rows(two, [1, 0], weights)) for two in (rows, other)]
    assert torch.equal(losses[0], losses[1])


def test_outside_the_models_own_attention_is_back():
    model = small()
    with packed_attention(model):
        assert model.config._attn_implementation == "rows_apart"
    assert model.config._attn_implementation == "sdpa"
    assert model(input_ids=torch.ones(2, 5, dtype=torch.long)).logits.shape[:2] == (2, 5)


@pytest.mark.parametrize("how", [ActivationCheckpointing.selective, ActivationCheckpointing.full])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputation_changes_memory_and_no_gradient(how, dropout):
    model = adapted(small(), dropout)
    keys = lora_linear.install(model)
    rows = some_rows()
    weights = token_weights(rows)
    keys.now = torch.arange(sum(len(row["input_ids"]) for row in rows), dtype=torch.int32)
    sizes, found = [], []
    for way in (ActivationCheckpointing.none, how):
        apply_activation_checkpointing(model, way)
        kept = 0

        def count(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            found.append(ours(model, rows, weights, 1000))
        sizes.append(kept)
    assert found[1][0] == found[0][0]
    assert all(torch.equal(found[1][1][name], one) for name, one in found[0][1].items())
    if how is ActivationCheckpointing.full:
        assert sizes[1] < sizes[0] / 2


def test_a_trained_head_and_embedding_get_their_gradients():
    model = small(tie_word_embeddings=True).train()
    model.requires_grad_(True)
    rows = some_rows()
    weights = token_weights(rows)
    expected = plain(model, rows, weights)
    assert_same(ours(model, rows, weights, 30), expected)


@pytest.mark.parametrize("precision", [Precision.bf16])
def test_products_in_16_bits_differ_by_rounding_only(precision):
    model = adapted(small().to(torch.bfloat16))
    rows = some_rows()
    weights = token_weights(rows)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(model, rows, weights)
        lora_linear.install(model)
        found = ours(model, rows, weights, 1000)
    assert found[0] == pytest.approx(expected[0], rel=1e-2)
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() / gradient.norm() < 0.1, name


def test_rows_that_count_nothing_have_a_gradient_of_zero():
    """A process without a row of the batch still makes a pass if the base is in parts."""
    model, rows = adapted(small()), some_rows()
    loss, gradient = ours(model, rows, [0.0] * len(rows), budget=1000)
    assert loss == 0.0
    assert gradient and all(bool((one == 0).all()) for one in gradient.values())
