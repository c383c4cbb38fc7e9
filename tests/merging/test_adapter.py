"""Every kind of LoRA either merges to what PEFT makes of it, or is refused in one line."""

import json
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_models import small
from transformers import AutoModelForCausalLM

from anima_exp.errors import ModelError
from anima_exp.system.paths import tiny_base

IDS = torch.tensor([[1, 17, 30, 42, 8, 90, 51, 7]])


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.fixture
def base_of(tmp_path):
    """base_of("gpt2") -> the folder of a small random model with the tiny tokenizer."""

    def _base_of(family, *, inner=False, **settings):
        folder = tmp_path / family
        if family == "gpt2":
            settings |= {"n_layer": 2, "n_embd": 64, "n_head": 4, "n_positions": 64}
        model = small(family, **settings)
        model.save_pretrained(folder)
        if inner:  # as the first GPT-2 and BLOOM files: written from the model without its head
            weights = load_file(folder / "model.safetensors")
            prefix = f"{model.base_model_prefix}."
            renamed = {name.removeprefix(prefix): one for name, one in weights.items()}
            save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
        for file in tiny_base().glob("tokenizer*"):
            shutil.copy(file, folder)
        return folder

    return _base_of


@pytest.fixture
def merged(merge, tmp_path):
    """merged(base, adapter, ...) -> the merged model, loaded by plain transformers."""

    def _merged(base, adapter, *settings):
        out = tmp_path / "merged"
        merge("model=local", f"model.source={base}", f"adapter={adapter}", f"out={out}",
              "dtype=fp32", "verify=false", "trainer.precision=fp32", *settings)  # fmt: skip
        return AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)

    return _merged


def by_peft(base, adapter):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()


KINDS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {
        "rank_pattern": {"layers.1.self_attn.q_proj": 2},
        "alpha_pattern": {"^model.layers.0.mlp.down_proj": 16, "q_proj": 1},
    },
    "whole head": {"modules_to_save": ["lm_head"]},
    "some layers": {"layers_to_transform": [1]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_lora_merges_as_peft_merges_it(kind, base_of, adapter_for, merged):
    base = base_of("llama", tie_word_embeddings=False)
    adapter = adapter_for(base, **KINDS[kind])
    if kind == "whole head":
        _move(adapter, "lm_head.weight")
    expected = logits(by_peft(base, adapter))
    found = logits(merged(base, adapter))
    assert not torch.allclose(expected, logits(small("llama", tie_word_embeddings=False)), atol=0.1)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_trained_biases_come_along(base_of, adapter_for, merged):
    base = base_of("gpt2")
    adapter = adapter_for(base, bias="all", target_modules=["c_attn"], fan_in_fan_out=True)
    _move(adapter, ".bias")
    torch.testing.assert_close(
        logits(merged(base, adapter)), logits(by_peft(base, adapter)), atol=2e-4, rtol=1e-4
    )


@pytest.mark.parametrize("inner", [False, True])
def test_layers_stored_transposed_merge_too(inner, base_of, adapter_for, merged):
    base = base_of("gpt2", inner=inner)
    adapter = adapter_for(base, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    torch.testing.assert_close(
        logits(merged(base, adapter)), logits(by_peft(base, adapter)), atol=2e-4, rtol=1e-4
    )


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("quant", ["nf4", "fp4"])
def test_dequantized_weights_are_those_of_training(
    family, quant, base_of, adapter_for, merged, settings
):
    from anima_exp.inference.saved_model import load_saved_model

    base = base_of(family, vocab_size=1024)  # as many as its tokenizer knows
    targets = ["c_attn", "c_proj"] if family == "gpt2" else ["q_proj", "down_proj"]
    adapter = adapter_for(base, target_modules=targets, fan_in_fan_out=family == "gpt2")
    how = ("model=local", f"model.source={base}", f"quant={quant}", "trainer.precision=fp32")
    trained, _ = load_saved_model(settings(f"adapter={adapter}", *how))
    found = logits(merged(base, adapter, f"quant={quant}", "target=dequantized"))
    torch.testing.assert_close(found, logits(trained), atol=2e-4, rtol=1e-4)


def test_what_another_base_was_trained_on_is_one_line(base_of, adapter_for, merged):
    base, adapter = base_of("llama"), adapter_for(tiny_base())
    with pytest.raises(ModelError, match=r"a base other than .*: the base has no model\.layers\.2"):
        merged(base, adapter)
    adapter = adapter_for(tiny_base(), name="q", layers_to_transform=[0], target_modules=["q_proj"])
    with pytest.raises(
        ModelError, match=r"q_proj is 128 x 128 in the adapter, 64 x 64 in the base"
    ):
        merged(base, adapter)


def test_names_that_transformers_changes_while_loading_are_one_line(base_of, adapter_for, merged):
    base = base_of("llama")
    adapter = adapter_for(base)
    file = base / "model.safetensors"
    renamed = {name.replace("q_proj", "query"): one for name, one in load_file(file).items()}
    save_file(renamed, file)
    with pytest.raises(ModelError, match=r"hold no model\.layers\.0\.self_attn\.q_proj\.weight"):
        merged(base, adapter)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_a_trained_embedding_that_is_shared_is_refused(base_of, adapter_for, merged):
    base = base_of("llama", tie_word_embeddings=True)
    adapter = adapter_for(base, modules_to_save=["embed_tokens"])
    with pytest.raises(ModelError, match=r"shares between embeddings and head"):
        merged(base, adapter)


REFUSED = {
    "peft_type": ("LOHA", "is of type LOHA, but only LORA can be merged"),
    "lora_bias": (True, "was made with lora_bias, which this command does not support"),
    "init_lora_weights": ("pissa", "init_lora_weights=pissa, which also changes the base"),
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_kind_that_merging_does_not_know_is_refused(key, base_of, adapter_for, merged):
    base = base_of("llama")
    adapter = adapter_for(base)
    value, line = REFUSED[key]
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ModelError, match=line):
        merged(base, adapter)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
def test_adapters_on_embeddings_are_refused(base_of, adapter_for, merged):
    base = base_of("llama")
    adapter = adapter_for(base, target_modules=["embed_tokens"])
    with pytest.raises(ModelError, match=r"layer model\.embed_tokens has lora_embedding_A"):
        merged(base, adapter)


@pytest.mark.parametrize("change", ["quantization_config", "adapter_config.json"])
def test_a_base_that_is_not_bare_is_refused(change, base_of, adapter_for, merged):
    base = base_of("llama")
    adapter = adapter_for(base)
    if change == "quantization_config":
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | {change: {"load_in_4bit": True}}))
    else:
        shutil.copy(adapter / change, base)
    with pytest.raises(
        ModelError, match=r"is already quantized|holds an adapter next to its weights"
    ):
        merged(base, adapter)


def _move(adapter, ending):
    """Let the adapter's whole tensors differ from the base's."""
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    assert any(name.endswith(ending) for name in weights)
    save_file(
        {name: one + 0.5 if name.endswith(ending) else one for name, one in weights.items()}, file
    )


def test_names_that_other_trainers_leave_are_peft_s_own(base_of, adapter_for, merged):
    base = base_of("llama")
    adapter = adapter_for(base)
    wanted = by_peft(base, adapter)
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    left = (name.replace(".weight", ".default.weight") for name in weights)
    left = (name.replace("base_model.model.", "base_model.model._orig_mod.") for name in left)
    save_file(dict(zip(left, weights.values(), strict=True)), file)
    torch.testing.assert_close(logits(merged(base, adapter)), logits(wanted), atol=1e-5, rtol=1e-4)


def test_added_tokens_are_said_as_such(base_of, adapter_for, merged):
    base = base_of("llama")
    adapter = adapter_for(base)
    file = adapter / "adapter_model.safetensors"
    head = {"base_model.model.lm_head.weight": torch.zeros(99, 64)}
    save_file(load_file(file) | head, file)
    said = r"^adapter=.* holds embeddings for 99 tokens, but its base model .* has 97: its trainer"
    with pytest.raises(ModelError, match=said):
        merged(base, adapter)


def test_a_program_in_an_adapter_is_not_recommended(base_of, adapter_for, merged):
    import os

    class Program:
        def __reduce__(self):
            return os.mkdir, (str(adapter / "was_run"),)

    base = base_of("llama")
    adapter = adapter_for(base)
    weights = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(weights | {"x": Program()}, adapter / "adapter_model.bin")
    with pytest.raises(ModelError) as error:
        merged(base, adapter)
    assert "Nothing in it was run." in str(error.value)
    assert "weights_only" not in str(error.value)
    assert not (adapter / "was_run").exists()
