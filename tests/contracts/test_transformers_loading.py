"""transformers still does what libraries/transformers_loading.py uses; a test names each part."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from support.tiny_llama import tiny_llama
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from anima_exp.libraries import transformers_loading as loading
from anima_exp.system.paths import tiny_base


@pytest.fixture
def stored(tmp_path):
    """A folder that `from_pretrained` reads."""
    tiny_llama().save_pretrained(tmp_path)
    return tmp_path


def in_4_bits(folder):
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=BitsAndBytesConfig(load_in_4bit=True), device_map="cpu"
    )


@pytest.fixture
def log(caplog):
    """What transformers logs, whose loggers hand nothing on to the root."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_a_missing_weight_is_reported_in_the_table_that_we_keep_out(stored, log):
    file = stored / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    AutoModelForCausalLM.from_pretrained(stored)
    assert "LOAD REPORT" in log.text
    log.clear()
    with loading.without_report():
        _, report = AutoModelForCausalLM.from_pretrained(stored, output_loading_info=True)
    assert "LOAD REPORT" not in log.text
    assert set(report["missing_keys"]) == {"model.norm.weight"}
    assert set(report["unexpected_keys"]) == set()


def test_a_base_with_an_adapter_among_its_files_says_so(stored):
    assert not loading.holds_adapter(AutoModelForCausalLM.from_pretrained(stored))
    adapted = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(stored)
    assert loading.holds_adapter(AutoModelForCausalLM.from_pretrained(stored))


def test_a_quantized_model_says_whether_its_files_were_so(stored, tmp_path):
    model = in_4_bits(stored)
    assert not loading.stored_quantized(model)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again", device_map="cpu")
    assert loading.stored_quantized(again)


def test_the_layers_that_the_quantizer_replaces_are_those_that_loading_puts_in_4_bits(stored):
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(stored))
    names = loading.layers_in_4_bits(empty)
    loaded = dict(in_4_bits(stored).named_modules())
    assert names == {
        name for name, module in loaded.items() if type(module).__name__ == "Linear4bit"
    }
    assert len(names) == 14


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"load_in_4bit": True}, "fp4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
        ({"load_in_8bit": True}, "int8"),
    ],
)
def test_a_config_json_says_how_its_files_are_quantized(settings, kind):
    saved = json.loads(json.dumps(BitsAndBytesConfig(**settings).to_dict(), default=str))
    assert loading.stored_type(saved) == kind


def test_weights_of_other_sizes_are_refused_with_the_argument_that_ignores_them(stored):
    config = json.loads((stored / "config.json").read_text())
    (stored / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(Exception) as error, loading.without_report():
        AutoModelForCausalLM.from_pretrained(stored)
    assert loading.says_other_sizes(error.value)


def test_code_of_a_models_own_is_refused_with_the_argument_that_allows_it(stored):
    config = json.loads((stored / "config.json").read_text())
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (stored / "config.json").write_text(json.dumps(config | own))
    (stored / "mine.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(ValueError) as error:
        AutoConfig.from_pretrained(stored, trust_remote_code=False)
    assert loading.asks_to_trust_code(error.value)


@pytest.mark.parametrize(("gib", "left_out"), [((0.6,), True), ((24, 1), True), ((5, 80), False)])
def test_a_base_is_not_allocated_beforehand_on_a_gpu_without_room_for_it(
    monkeypatch, gib, left_out
):
    from transformers import modeling_utils

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gib))
    sizes = [SimpleNamespace(total_memory=int(one * 2**30)) for one in gib]
    monkeypatch.setattr(torch.cuda, "get_device_properties", sizes.__getitem__)
    before = modeling_utils.caching_allocator_warmup
    with loading.no_warmup_on_small_gpus():
        assert (modeling_utils.caching_allocator_warmup is not before) is left_out
        if left_out:
            modeling_utils.caching_allocator_warmup(None, {"": 0}, None)
    assert modeling_utils.caching_allocator_warmup is before


def test_fp8_is_dequantized_and_saved_in_16_bits_only_as_it_is_in_memory(tmp_path):
    from safetensors.torch import load_file
    from support.fp8_base import write_in_fp8

    means = write_in_fp8(tiny_base(), tmp_path / "fp8")
    model, report = loading.load_dequantized(str(tmp_path / "fp8"))
    assert not report["missing_keys"]
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(model.state_dict()[name], means[name].to(torch.bfloat16))
    loading.save_as_in_memory(model, tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert torch.equal(saved[name], model.state_dict()[name])
    assert "quantization_config" not in json.loads((tmp_path / "saved/config.json").read_text())
