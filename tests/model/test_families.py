"""Families that differ from Llama: they compute what transformers computes, or are refused."""

import warnings

import numpy as np
import pytest
import torch
import transformers
from support.families.small_configs import causal_families, small_model
from support.families.trial import FAILED, try_family
from support.small_models import VOCABULARY, small, some_rows

from anima_exp.config import (
    ActivationCheckpointing,
    LoraConfig,
    LossNormalization,
    Precision,
    TargetModules,
)
from anima_exp.data.micro_batch import label_weights
from anima_exp.errors import ModelError
from anima_exp.evals.multiple_choice.likelihood import choice_logits
from anima_exp.model import lora_linear
from anima_exp.model.activation_checkpointing import apply_activation_checkpointing, selective_works
from anima_exp.model.adapter import add_lora
from anima_exp.model.architecture_check import masks_padding, probe_architecture
from anima_exp.model.generation import inference_mode
from anima_exp.model.hashed_dropout import own_dropout, switch_off_own_dropout
from anima_exp.model.linear_layers import linear_layers, target_modules
from anima_exp.model.varlen_attention import supports_packing
from anima_exp.planner.adapted import adapted_layers
from anima_exp.planner.shape import from_model
from anima_exp.reference.families import measured
from anima_exp.training.gradient_check import reference_gradients
from anima_exp.training.step import GradientStep


def adapted(model, which=TargetModules.all_linear, dropout=0.0):
    probe_architecture(model)
    model = add_lora(model, LoraConfig(target_modules=which, rank=4, dropout=dropout))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def gradients(model):
    found = [p.grad.flatten().double() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return torch.cat(found)


def assert_plain_gradients(model):
    rows, keys = some_rows(), lora_linear.install(model)
    step = GradientStep(
        model, keys, budget=1000, precision=Precision.fp32, average=LossNormalization.token, seed=0,
        backward=torch.Tensor.backward, say=print,
    )  # fmt: skip
    fast, ours = float(step(rows, number=0)), gradients(model)
    plain = reference_gradients(model, rows, label_weights(rows, LossNormalization.token))
    theirs = gradients(model)
    assert fast == pytest.approx(plain, rel=1e-5)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-4


def trial(family, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return try_family(family, folder)


def on_the_page(family):
    """What the page says of a family; of a release that was not tried, what the newest gave."""
    known = measured()
    newest = max(known, key=lambda release: [*map(int, release.split("."))])
    return known.get(transformers.__version__, known[newest]).get(family)


@pytest.mark.parametrize(
    "family",
    ["llama", "qwen3", "gemma2", "gemma3_text", "phi3", "gpt2", "mixtral", "qwen3_moe",
     "deepseek_v3", "gpt_oss", "llama4_text", "qwen3_next", "falcon_h1", "mamba2", "lfm2",
     "granitemoehybrid", "rwkv", "bloom", "falcon", "nemotron", "bert"],
)  # fmt: skip
def test_a_family_is_what_the_page_says(family, tmp_path):
    found = trial(family, tmp_path).to_dict()
    assert found["result"] != FAILED, found
    if transformers.__version__ in measured():
        assert found == on_the_page(family), "run: make families"
    assert found["result"] == on_the_page(family)["result"], found.get("reason")


@pytest.mark.slow
@pytest.mark.parametrize("family", causal_families())
def test_every_family_is_what_the_page_says(family, tmp_path):
    found = trial(family, tmp_path).to_dict()
    assert found["result"] != FAILED, found
    if (row := on_the_page(family)) is not None:
        assert found["result"] == row["result"], found.get("reason")


@pytest.mark.parametrize("family", ["nemotron", "mpt"])
def test_a_family_that_takes_no_borders_trains_row_by_row(family):
    model = adapted(small(family).eval())
    assert not supports_packing(model.get_base_model())
    assert_plain_gradients(model.train())


def test_a_router_that_is_a_linear_layer_gets_no_adapter():
    names = target_modules(small("llama4"), TargetModules.all_linear)
    assert names
    assert not any("router" in name for name in names)


def test_layers_that_peft_refuses_are_one_line_with_the_layers_that_it_takes():
    with pytest.raises(ModelError) as error:
        adapted(small("mamba2").eval())
    assert str(error.value).startswith("lora.target_modules=all_linear cannot adapt Mamba2")
    assert str(error.value).endswith(
        "Module 'out_proj' is incompatible with Mamba-based models (model_type='mamba2'). "
        "Use lora.target_modules=named lora.modules=[in_proj]."
    )


def test_layers_that_text_does_not_pass_through_get_no_adapter():
    config = transformers.BartConfig(
        vocab_size=97, d_model=32, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=48,
        max_position_embeddings=64, is_decoder=True, is_encoder_decoder=False,
    )  # fmt: skip
    model = transformers.BartForCausalLM(config).requires_grad_(False).eval()
    assert any("encoder_attn" in layer.name for layer in linear_layers(model))
    probe_architecture(model)
    names = target_modules(model, TargetModules.all_linear)
    assert len(names) == 6 and not any("encoder_attn" in name for name in names)


def test_a_choice_of_tokens_gets_no_adapter(tmp_path):
    names = target_modules(small_model("deepseek_v32"), TargetModules.all_linear)
    assert names and not any("indexer" in name for name in names)


def test_selective_checkpointing_whose_gradients_differ_is_seen():
    model = small_model("gemma3n_text").requires_grad_(False).eval()
    model = adapted(model, TargetModules.attention)
    lora_linear.install(model)
    apply_activation_checkpointing(model, ActivationCheckpointing.selective)
    assert not selective_works(model, Precision.fp32)


def test_activation_checkpointing_that_a_family_lacks_is_one_line():
    model = adapted(small_model("ctrl").requires_grad_(False).eval())
    with pytest.raises(ModelError) as error:
        apply_activation_checkpointing(model, ActivationCheckpointing.full)
    assert str(error.value) == (
        "trainer.activation_checkpointing=full does not work with CTRLLMHeadModel, which does not "
        "support it in transformers. Use trainer.activation_checkpointing=none."
    )


def test_text_trains_no_layer_of_a_vision_tower():
    text = {
        "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "head_dim": 16,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "query_pre_attn_scalar": 16,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "image_size": 28,
        "num_attention_heads": 2, "patch_size": 14,
    }  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, boi_token_index=90,
        eoi_token_index=91, image_token_index=92,
    )  # fmt: skip
    model = transformers.Gemma3ForConditionalGeneration(config).requires_grad_(False)
    assert any("vision" in layer.name for layer in linear_layers(model))
    lora = LoraConfig(target_modules=TargetModules.all_linear, dropout=0.0)
    count = sum(each for _, _, each in adapted_layers(from_model(model), lora))
    assert count == 14 == len(target_modules(model, TargetModules.all_linear))
    model = adapted(model.eval())
    assert not any("vision" in n for n, p in model.named_parameters() if p.requires_grad)


def test_selective_recomputation_is_tried_and_falcon_does_not_stand_it():
    for family, works in {"llama": True, "falcon": False}.items():
        model = adapted(small(family).eval())
        lora_linear.install(model)
        apply_activation_checkpointing(model, ActivationCheckpointing.selective)
        state = torch.random.get_rng_state()
        assert selective_works(model, Precision.fp32) is works
        assert torch.equal(state, torch.random.get_rng_state())
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gpt2", {"resid_pdrop": 0.1, "attn_pdrop": 0.1, "n_layer": 2, "n_embd": 48}),
        ("opt", {"layerdrop": 0.1, "dropout": 0.1}),
        ("starcoder2", {"residual_dropout": 0.1, "embedding_dropout": 0.1}),
    ],
)
def test_a_base_s_own_dropout_is_seen_and_can_be_switched_off(family, settings):
    model = adapted(small(family, **settings).eval(), dropout=0.5)
    assert own_dropout(model) == 0.1
    switch_off_own_dropout(model)
    assert own_dropout(model) == 0
    assert any(getattr(m, "p", 0) == 0.5 for m in model.modules()), "LoRA's was to stay"
    for module in model.modules():
        if "lora_dropout" in vars(module).get("_modules", {}):
            module.lora_dropout["default"].p = 0.0
    assert_plain_gradients(model.train())


@pytest.mark.parametrize(
    ("family", "padded"),
    [("llama", True), ("opt", True), ("mpt", True), ("falcon", True),
     ("mamba2", True), ("rwkv", False)],
)  # fmt: skip
def test_a_shared_beginning_changes_no_logit_of_any_family(family, padded):
    model = small(family).eval()
    random = np.random.default_rng(0)
    beginning = random.integers(3, VOCABULARY, 24)
    rows = [np.concatenate([beginning, random.integers(3, VOCABULARY, n)]) for n in (1, 4, 30, 4)]
    ids = list(range(VOCABULARY))
    with inference_mode(model, Precision.fp32):
        assert masks_padding(model) is padded
        found = choice_logits(model, rows, ids, batch_tokens=100_000)
        alone = torch.cat([choice_logits(model, [row], ids, batch_tokens=1) for row in rows])
    assert torch.allclose(found, alone, atol=1e-4)
