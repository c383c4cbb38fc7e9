"""The start of each variant, and what its layers compute, on small random models."""

import pytest
import torch
from safetensors.torch import load_file
from support.small_models import small, some_rows

from anima_exp.config import (
    LoraConfig,
    LoraInit,
    LoraVariant,
    ModelConfig,
    Precision,
    TargetModules,
)
from anima_exp.errors import ModelError
from anima_exp.libraries.peft_internals import (
    base_layer,
    is_dora,
    lora_layers,
    name_in_base,
    update_of,
)
from anima_exp.model import adapter_init, lora_linear
from anima_exp.model.adapter import add_lora
from anima_exp.model.adapter_init import _largest
from anima_exp.model.base import autocast
from anima_exp.model.dequantized_weights import dequantized_weight
from anima_exp.model.eva import initialize_from_rows
from anima_exp.model.hashed_dropout import kept_share
from anima_exp.model.lora_linear import be_one_operation, lora_weights
from anima_exp.model.lora_start import start_of

IDS = torch.tensor([[1, 5, 9, 2, 44, 17]])
SOURCE = ModelConfig(name="small", source="unused")
CPU = torch.device("cpu")


def lora(**settings):
    known = {"target_modules": TargetModules.all_linear, "rank": 4, "alpha": 8.0, "dropout": 0.0}
    return LoraConfig(**known | settings)


def adapted(precision=torch.float32, **settings):
    return add_lora(small().to(precision), lora(**settings), SOURCE)


def logits(model, precision=Precision.fp32):
    with torch.no_grad(), autocast(CPU, precision):
        return model.eval()(input_ids=IDS).logits.float()


STARTS = {
    "rslora": {"variant": LoraVariant.rslora},
    "dora": {"variant": LoraVariant.dora},
    "pissa": {"init": LoraInit.pissa},
    "olora": {"init": LoraInit.olora, "variant": LoraVariant.rslora},
    "embeddings": {"train_embeddings": True, "save_modules": ["norm"]},
}


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16])
@pytest.mark.parametrize("start", STARTS)
def test_a_new_adapter_computes_what_its_base_computes(start, precision):
    dtype = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16}[precision]
    expected = logits(small().to(dtype), precision)
    model = adapted(dtype, **STARTS[start])
    lora_linear.install(model)
    found = logits(model, precision)
    scale = expected.abs().max()
    assert (found - expected).abs().max() < scale * (1e-6 if precision is Precision.fp32 else 0.02)


def test_dora_in_bf16_is_as_exact_as_its_base():
    """PEFT alone rounds the length of each row to bf16, which moves every row of W."""
    exact = logits(small())
    base = (logits(small().bfloat16(), Precision.bf16) - exact).square().mean()
    model = adapted(torch.bfloat16, variant=LoraVariant.dora)
    lora_linear.install(model)
    ours = (logits(model, Precision.bf16) - exact).square().mean()
    assert ours < 1.5 * base


@pytest.mark.parametrize("init", [LoraInit.pissa, LoraInit.olora])
def test_the_start_is_the_part_of_the_base_that_peft_takes(init):
    from peft import LoraConfig as Theirs
    from peft import get_peft_model

    theirs = get_peft_model(
        small(), Theirs(r=4, lora_alpha=8, target_modules=["up_proj"], init_lora_weights=init.value)
    )
    ours = adapted(init=init)
    for name, layer in lora_layers(theirs):
        a, b, scaling = update_of(layer, "default")
        own_a, own_b, own_scaling = update_of(dict(lora_layers(ours))[name], "default")
        assert own_scaling == scaling
        torch.testing.assert_close(own_b @ own_a, b @ a, atol=1e-5, rtol=1e-4)


def gradients(model):
    model.train()
    model(input_ids=IDS).logits.square().mean().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("chance", [0.0, 0.3])
def test_pissa_computes_the_base_without_the_start_plus_the_adapter(chance):
    """With dropout too, which the part of the base does not get."""
    model = adapted(init=LoraInit.pissa, dropout=chance)
    with torch.no_grad():
        for weight in lora_weights(model):  # the start among them
            weight.add_(0.01 * torch.randn_like(weight))
    keys = lora_linear.install(model)
    keys.now = torch.arange(6, dtype=torch.int32)
    found = []
    for one_operation in (False, True):
        be_one_operation(model, one_operation)
        found.append(gradients(model))
    reference = adapted(dropout=chance)
    layers = dict(lora_layers(reference))
    with torch.no_grad():
        for name, layer in lora_layers(model):
            a, b, scaling = update_of(layer, "default")
            a0, b0 = start_of(layer)
            base_layer(layers[name]).weight.sub_(scaling * b0 @ a0)
            for ours, weight in zip(update_of(layers[name], "default"), (a, b), strict=False):
                ours.copy_(weight)
    lora_linear.install(reference).now = keys.now
    expected = gradients(reference)
    assert kept_share(chance) > 0.6
    for name, wanted in expected.items():
        assert torch.equal(found[0][name], found[1][name])
        torch.testing.assert_close(found[0][name], wanted, atol=1e-5, rtol=1e-3)


def test_the_largest_vectors_of_a_large_matrix_are_found_without_all_others(monkeypatch):
    torch.manual_seed(3)
    left, right = (
        torch.linalg.qr(torch.randn(200, 160))[0],
        torch.linalg.qr(torch.randn(160, 160))[0],
    )
    matrix = left * torch.logspace(0, -2, 160) @ right
    b, a = _largest(matrix, 8)
    state = torch.get_rng_state()
    monkeypatch.setattr(adapter_init, "_FULL_SIZE", 100)
    fast_b, fast_a = _largest(matrix, 8)
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(fast_b @ fast_a, b @ a, atol=1e-4, rtol=1e-3)
    again_b, again_a = _largest(matrix, 8)
    assert torch.equal(fast_a, again_a) and torch.equal(fast_b, again_b)


def test_loftq_starts_at_what_quantization_took_away(compose):
    from anima_exp.model.base import load_base

    config = compose("quant=nf4", "trainer.precision=fp32")
    bare = compose("quant=none", "trainer.precision=fp32")
    original = load_base(bare.model, bare.quant, precision=Precision.fp32)
    base = load_base(config.model, config.quant, precision=Precision.fp32)
    model = add_lora(base, lora(rank=24, init=LoraInit.loftq), config.model)
    for name, layer in lora_layers(model):
        weight = original.get_submodule(name_in_base(name)).weight
        a, b, scaling = update_of(layer, "default")
        error = weight - dequantized_weight(base_layer(layer), torch.float32)
        rest = (error - scaling * b @ a).norm()
        best = torch.linalg.svdvals(error)[24:].norm()
        torch.testing.assert_close(rest, best, rtol=1e-3, atol=0)


def test_loftq_knows_that_files_of_gpt_2_hold_its_matrices_turned(tmp_path):
    from anima_exp.config import QuantConfig, Quantization
    from anima_exp.model.base import load_base

    small("gpt2", n_layer=2, n_embd=64, n_head=4).save_pretrained(tmp_path)
    source = ModelConfig(name="small", source=str(tmp_path))
    quant = QuantConfig(type=Quantization.nf4, compute_dtype=Precision.fp32, cache_quantized=False)
    base = load_base(source, quant, precision=Precision.fp32)
    model = add_lora(base, lora(rank=8, init=LoraInit.loftq), source)
    original = load_file(tmp_path / "model.safetensors")
    for name, layer in lora_layers(model):
        file = f"{name_in_base(name)}.weight"
        weight = original.get(file, original.get(file.removeprefix("transformer."))).T
        a, b, scaling = update_of(layer, "default")
        error = weight - dequantized_weight(base_layer(layer), torch.float32)
        assert (error - scaling * b @ a).norm() < 0.95 * error.norm()


def test_eva_shares_the_ranks_and_leaves_the_base_alone():
    rows = some_rows(lengths=(40, 50, 60, 30), prompt=3)
    model = add_lora(
        small(), lora(init=LoraInit.eva), SOURCE,
        lambda model: initialize_from_rows(model, rows, Precision.fp32),
    )  # fmt: skip
    torch.testing.assert_close(logits(model), logits(small()), atol=1e-6, rtol=0)
    ranks = [layer.r["default"] for _, layer in lora_layers(model)]
    assert len(set(ranks)) > 1 and max(ranks) <= 8
    assert sum(ranks) == 4 * 14  # two blocks of seven layers
    again = add_lora(
        small(), lora(init=LoraInit.eva), SOURCE,
        lambda model: initialize_from_rows(model, rows, Precision.fp32),
    )  # fmt: skip
    for (_, one), (_, other) in zip(lora_layers(model), lora_layers(again), strict=True):
        assert torch.equal(one.lora_A["default"].weight, other.lora_A["default"].weight)
    assert model.peft_config["default"].init_lora_weights is True


def test_eva_needs_as_many_tokens_as_components():
    with pytest.raises(ModelError, match=r"^lora.init=eva needs 8 tokens at once, .* the first 1 "):
        add_lora(
            small(), lora(init=LoraInit.eva), SOURCE,
            lambda model: initialize_from_rows(model, some_rows(lengths=(5,)), Precision.fp32),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank_pattern": ["lm_head:2"]}, r"^lora.rank_pattern: lm_head matches no layer with an"),
        ({"alpha_pattern": ["x_proj:2"]}, r"^lora.alpha_pattern: x_proj matches no layer with an"),
        ({"init": LoraInit.pissa, "rank": 65}, r"^lora.init=pissa finds at most 64 vectors in"),
        ({"save_modules": ["heads"]}, r"^lora.save_modules: heads matches no module"),
        (
            {"save_modules": ["mlp"]},
            r"^lora.save_modules: model.layers.0.mlp is trained as a whole",
        ),
        ({"save_modules": ["layers"]}, r"^lora.save_modules: model.layers has no weights of its"),
    ],
)
def test_what_cannot_be_adapted_is_one_line(settings, said):
    with pytest.raises(ModelError, match=said) as error:
        adapted(**settings)
    assert "\n" not in str(error.value)


def test_a_quantized_module_is_not_trained_as_a_whole(compose):
    from anima_exp.model.base import load_base

    config = compose("lora=attention", "lora.save_modules=[down_proj]")
    base = load_base(config.model, config.quant, precision=Precision.fp32)
    with pytest.raises(ModelError, match=r"down_proj is quantized, so it cannot be trained"):
        add_lora(base, config.lora, config.model)


def test_tied_embeddings_stay_tied_and_are_trained_in_fp32():
    model = add_lora(
        small(tie_word_embeddings=True).bfloat16(), lora(train_embeddings=True), SOURCE
    )
    base = model.get_base_model()
    assert base.lm_head.weight is base.model.embed_tokens.weight
    assert base.lm_head.weight.dtype is torch.float32 and base.lm_head.weight.requires_grad
    assert base.model.embed_tokens(IDS).dtype is torch.bfloat16
    with model.disable_adapter():
        assert base.lm_head.weight.dtype is torch.bfloat16


def test_tied_embeddings_under_other_names_are_refused():
    with pytest.raises(ModelError, match=r"shares the weights of transformer.wte and lm_head, whi"):
        add_lora(small("gpt2"), lora(train_embeddings=True), SOURCE)


def test_each_layer_keeps_the_forward_pass_of_its_variant():
    model = adapted(variant=LoraVariant.dora)
    lora_linear.install(model)
    assert all(is_dora(layer) for _, layer in lora_layers(model))
    assert lora_weights(model) == []  # PEFT casts them itself
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert any("lora_magnitude_vector" in name for name in names)


def test_weight_decay_leaves_the_lengths_of_rows_alone_and_lora_plus_takes_b(compose):
    from anima_exp.training.optimizer import make_optimizer

    config = compose("optimizer=adamw", "optimizer.lora_plus_ratio=4", "optimizer.weight_decay=0.1")
    model = adapted(variant=LoraVariant.dora)
    names = {id(one): name for name, one in model.named_parameters()}
    decayed, others, faster = (
        {names[id(one)].split(".lora_")[1].partition(".")[0] for one in group["params"]}
        for group in make_optimizer(model, config.optimizer).param_groups
    )
    assert (decayed, others, faster) == ({"A"}, {"magnitude_vector"}, {"B"})
