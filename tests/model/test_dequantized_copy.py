"""A base that is stored in FP8 or MXFP4 is trained, evaluated and merged as its 16-bit weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.fp8_base import write_in_fp8

from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.errors import ModelError
from anima_exp.experiment.run import run
from anima_exp.model import dequantized_copy
from anima_exp.model.base import load_base
from anima_exp.model.expert_weights import quantized_experts
from anima_exp.system.paths import tiny_base


@pytest.fixture(scope="module")
def fp8_base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fp8") / "base"
    return folder, write_in_fp8(tiny_base(), folder)


def loaded(folder, cache, kind):
    quant = QuantConfig(
        type=Quantization(kind), double_quant=kind == "nf4", compute_dtype=Precision.fp32
    )
    model = ModelConfig(name="m", source=str(folder))
    return load_base(model, quant, precision=Precision.fp32, cache=cache)


def test_fp8_is_loaded_as_the_numbers_that_it_stands_for(fp8_base, tmp_path):
    folder, means = fp8_base
    model = loaded(folder, tmp_path, "none")
    weights = model.state_dict()
    assert len(means) == 35
    for name, mean in means.items():
        assert torch.equal(weights[name], mean.to(torch.bfloat16).float()), name
    assert model.config.name_or_path == str(folder)
    (copy,) = (one for one in (tmp_path / "bases").iterdir() if one.is_dir())
    assert "quantization_config" not in json.loads((copy / "config.json").read_text())
    assert {one.dtype for one in load_file(copy / "model.safetensors").values()} == {torch.bfloat16}


def test_fp8_is_quantized_to_nf4_as_its_16_bit_copy_is(fp8_base, tmp_path):
    folder, _ = fp8_base
    model = loaded(folder, tmp_path, "nf4")
    (copy,) = (one for one in (tmp_path / "bases").iterdir() if one.is_dir())
    again = loaded(copy, tmp_path, "nf4")
    stored, wanted = model.state_dict(), again.state_dict()
    assert stored.keys() == wanted.keys()
    assert all(torch.equal(stored[name], wanted[name]) for name in stored)
    assert "absmax" in " ".join(stored)


def test_the_copy_is_written_once(fp8_base, tmp_path, monkeypatch):
    folder, _ = fp8_base
    loaded(folder, tmp_path, "none")
    monkeypatch.setattr(dequantized_copy, "load_dequantized", None)
    loaded(folder, tmp_path, "none")


def test_a_full_disk_is_one_line(fp8_base, tmp_path, monkeypatch):
    folder, _ = fp8_base
    monkeypatch.setattr(dequantized_copy, "_SPARE_BYTES", 10**18)
    with pytest.raises(ModelError, match=r"Use cache_dir=FOLDER on a larger disk\.$"):
        loaded(folder, tmp_path, "none")
    assert not [one for one in (tmp_path / "bases").iterdir() if one.is_dir()]


def test_a_run_on_fp8_is_trained_evaluated_and_merged(fp8_base, compose, tmp_path):
    from anima_exp.api.models import merge

    folder, means = fp8_base
    record = run(
        compose(
            "model=local", f"model.source={folder}", "model.recommended.learning_rate=2e-3",
            "model.recommended.lora_dropout=0", "trainer.precision=fp32", "data.max_rows=64",
            "data.heldout_rows=16", "trainer.max_steps=4", "evals=[heldout]", "tracking=none",
            "trainer.batch_size=8", f"run_dir={tmp_path}/run", f"cache_dir={tmp_path}/cache",
        )
    )  # fmt: skip
    assert record.base_format == "FP8"
    card = (record.adapter / "README.md").read_text(encoding="utf-8")
    assert "FP8, dequantized to 16 bits; then" in card
    assert "stored = FineGrainedFP8Config(dequantize=True)" in card
    assert "BitsAndBytesConfig" not in card
    assert record.scores["heldout_loss"] < record.scores_before["heldout_loss"]
    merge(record.folder, out=tmp_path / "merged", cache_dir=str(tmp_path / "cache"))
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert merged[name].dtype is torch.bfloat16
    moved = merged[name].float() - means[name]
    assert 0 < moved.abs().max() < 0.2
    assert "quantization_config" not in json.loads((tmp_path / "merged/config.json").read_text())


def test_loftq_needs_16_bits(fp8_base, tmp_path):
    from anima_exp.config import LoraConfig, LoraInit, TargetModules
    from anima_exp.model.adapter import add_lora

    folder, _ = fp8_base
    model = loaded(folder, tmp_path, "nf4")
    lora = LoraConfig(
        target_modules=TargetModules.all_linear, rank=2, dropout=0.0, init=LoraInit.loftq
    )
    with pytest.raises(ModelError, match=r"is stored in FP8\. Use another lora\.init"):
        add_lora(model, lora, ModelConfig(name="m", source=str(folder)))


_FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4(weight):
    """Return the blocks and scales of [experts, in, out], and what they stand for."""
    rows = weight.float().transpose(1, 2)
    blocks = rows.reshape(*rows.shape[:2], -1, 32)
    exponents = torch.floor(torch.log2(blocks.abs().amax(-1).clamp_min(1e-20))) - 2
    scale = torch.exp2(exponents)[..., None]
    codes = ((blocks / scale)[..., None] - _FP4).abs().argmin(-1)
    mean = (_FP4[codes] * scale).reshape(rows.shape).transpose(1, 2)
    packed = codes[..., 0::2] | (codes[..., 1::2] << 4)
    return packed.to(torch.uint8), (exponents + 127).to(torch.uint8), mean


@pytest.mark.filterwarnings("ignore:.*RoPE")
def test_mxfp4_is_loaded_as_the_numbers_that_it_stands_for(tmp_path):
    from transformers import AutoModelForCausalLM, GptOssConfig

    folder = tmp_path / "base"
    shape = GptOssConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1, head_dim=16,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
        max_position_embeddings=64, sliding_window=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(shape).to(torch.bfloat16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    weights, means = {}, {}
    for name, one in load_file(folder / "model.safetensors").items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            weights[f"{name}_blocks"], weights[f"{name}_scales"], means[name] = mxfp4(one)
        else:
            weights[name] = one
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": []}
    (folder / "config.json").write_text(json.dumps(config))
    found = loaded(folder, tmp_path / "cache", "none").state_dict()
    assert len(means) == 2
    for name, mean in means.items():
        assert torch.equal(found[name], mean.to(torch.bfloat16).float()), name
    in_4_bits = loaded(folder, tmp_path / "cache", "nf4")
    assert {one.kind for one in quantized_experts(in_4_bits)} == {"nf4"}
    assert sum(one.elements for one in quantized_experts(in_4_bits)) == 3 * 4 * 64 * 64
