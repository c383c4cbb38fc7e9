"""What transformers only warns of while it loads a base is one line here, or is said."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_models import small

from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.errors import ModelError
from anima_exp.model import base as model_base
from anima_exp.model.base import load_base
from anima_exp.system.paths import tiny_base

pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture
def base(tmp_path):
    return shutil.copytree(tiny_base(), tmp_path / "base")


def load(folder, quant="none"):
    settings = QuantConfig(
        type=Quantization(quant), double_quant=quant == "nf4", compute_dtype=Precision.fp32
    )
    return load_base(ModelConfig(name="m", source=str(folder)), settings, precision=Precision.fp32)


def refusal(folder, quant="none"):
    with pytest.raises(ModelError) as error:
        load(folder, quant)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(folder, how):
    """Rewrite the weights: `how` gives a name and its tensor another pair, or None."""
    weights = load_file(folder / "model.safetensors")
    pairs = [how(name, tensor) for name, tensor in weights.items()]
    save_file(dict(filter(None, pairs)), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("quant", ["none", "nf4"])
def test_weights_that_would_start_at_random_are_refused(base, quant):
    change(base, lambda name, tensor: None if ".layers.4." in name else (name, tensor))
    assert refusal(base, quant) == (
        f"model.source={base} lacks 9 of the 47 weights of LlamaForCausalLM, which would start "
        "from random values: model.layers.4.input_layernorm.weight, "
        "model.layers.4.mlp.down_proj.weight, "
        "model.layers.4.mlp.gate_proj.weight, .... Download the model again, or use the folder "
        "of the complete model."
    )


def test_weights_of_another_prefix_are_named_beside_those_that_lack(base):
    change(base, lambda name, tensor: (name.replace("model.", "transformer."), tensor))
    assert "The files hold 47 weights (transformer." in refusal(base)


def test_tied_weights_need_not_be_in_the_files(tmp_path):
    model = small(tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in names
    assert torch.equal(load(tmp_path).lm_head.weight, model.lm_head.weight)


def test_surplus_weights_are_counted_and_named(base, capsys):
    extra = {"model.layers.9.odd.weight": torch.ones(2)}
    weights = load_file(base / "model.safetensors") | extra
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    load(base)
    said = capsys.readouterr().out
    assert "LlamaForCausalLM does not use 1 weights (model.layers.9.odd.weight) of" in said


@pytest.mark.parametrize("quant", ["none", "nf4"])
def test_weights_of_other_sizes_than_the_config_says_are_refused(base, quant):
    file = base / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"intermediate_size": 400}))
    assert (
        "15 weights have other shapes than config.json says. The first is model.layers.0.mlp."
        "down_proj.weight with 128 x 320 numbers, not 128 x 400."
    ) in refusal(base, quant)


def test_a_program_in_a_bin_file_is_neither_run_nor_recommended(base, tmp_path):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was_run"),)

    weights = load_file(base / "model.safetensors") | {"x": Program()}
    torch.save(weights, base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    line = refusal(base)
    assert "which could run code. Nothing in it was run." in line
    assert "weights_only" not in line
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_found_in_a_row_that_no_trial_reads(base, number):
    def spoilt(name, tensor):
        if name == "model.embed_tokens.weight":
            tensor[1000, 3] = number
        return name, tensor

    change(base, spoilt)
    assert "model.embed_tokens.weight holds NaN or infinite values." in refusal(base)


@pytest.mark.parametrize("quant", ["nf4", "int8"])
def test_a_base_that_is_stored_as_asked_is_used_and_said(base, tmp_path, quant, capsys):
    kept = load(base, quant)
    kept.save_pretrained(tmp_path / "kept")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, tmp_path / "kept")
    again = load(tmp_path / "kept", quant)
    assert f"{tmp_path}/kept is stored in {quant} and is used as it is" in capsys.readouterr().out
    ids = torch.arange(9)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, kept(ids).logits)
    assert "is already stored in" in refusal(tmp_path / "kept", "fp4")


def test_a_family_without_torch_s_attention_gets_its_own_and_the_run_says_so(
    tmp_path, capsys, monkeypatch
):
    from transformers.models.gemma2.modeling_gemma2 import Gemma2PreTrainedModel

    monkeypatch.setattr(Gemma2PreTrainedModel, "_supports_sdpa", False)  # true in some versions
    small("gemma2").save_pretrained(tmp_path)
    assert load(tmp_path).config._attn_implementation == "eager"
    assert "gemma2 does not support model.attention=sdpa" in capsys.readouterr().out


def test_code_of_the_model_s_own_is_named_by_our_setting(base):
    file = base / "config.json"
    known = json.loads(file.read_text())
    own = {"model_type": "odd", "auto_map": {"AutoConfig": "own.Own"}}
    file.write_text(json.dumps(known | own))
    (base / "own.py").write_text("raise SystemExit(9)")
    assert "If you trust it, add model.trust_remote_code=true." in refusal(base)


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "tf32"), ((7, 5), "none")])
def test_training_and_evaluations_multiply_alike_since_every_load_sets_tf32(
    base, monkeypatch, capability, expected
):
    monkeypatch.setattr(torch.backends, "fp32_precision", "none")  # and restore it afterwards
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: capability)
    load(base)
    assert torch.backends.fp32_precision == "none"
    set_for = model_base.use_tf32
    monkeypatch.setattr(model_base, "use_tf32", lambda where: set_for(torch.device("cuda")))
    load(base)
    assert torch.backends.fp32_precision == expected


def test_angles_of_rotary_positions_are_no_tf32_products(base, monkeypatch):
    model = load(base)
    rotary = model.model.rotary_emb
    seen, compute = [], rotary.forward

    def watched(*inputs, **more):
        seen.append(torch.backends.fp32_precision)
        return compute(*inputs, **more)

    monkeypatch.setattr(rotary, "forward", watched)
    monkeypatch.setattr(torch.backends, "fp32_precision", "tf32")
    model(input_ids=torch.tensor([[3, 4]]))
    assert seen == ["ieee"] and torch.backends.fp32_precision == "tf32"
    monkeypatch.setattr(rotary, "forward", None)
    with pytest.raises(TypeError):
        model(input_ids=torch.tensor([[3, 4]]))
    assert torch.backends.fp32_precision == "tf32"
