"""A folder that holds no whole base is refused before torch is imported, in a line that helps."""

import json
import shutil

import pytest

from anima_exp.config import ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.errors import ModelError
from anima_exp.model.base_config import context_length
from anima_exp.model.base_files import check_base_files, check_tokenizer_files
from anima_exp.system.paths import tiny_base

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
NF4 = {
    "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}  # fmt: skip


@pytest.fixture
def base(tmp_path):
    return shutil.copytree(tiny_base(), tmp_path / "base")


def refusal(folder, quant="none", double_quant=True, **model):
    settings = QuantConfig(
        type=Quantization(quant), double_quant=double_quant, compute_dtype=Precision.fp32
    )
    with pytest.raises(ModelError) as error:
        check_base_files(ModelConfig(name="m", source=str(folder), **model), settings)
    return str(error.value).removeprefix(f"model.source={folder}").lstrip(": ")


def config_of(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_embedded_base_is_whole(base):
    check_base_files(ModelConfig(name="m", source="tiny"))
    check_base_files(ModelConfig(name="m", source=str(base)))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_git_lfs_pointer_is_named(base, name):
    (base / name).write_bytes(POINTER)
    assert refusal(base) == (
        f"{name} is a Git LFS pointer, not the file itself. Run `git lfs pull` in that folder, or "
        "download the model again."
    )


def test_an_empty_or_unfinished_or_strange_file_is_named(base):
    whole = (base / "model.safetensors").read_bytes()
    for content, reason in {
        b"": "model.safetensors is empty.",
        whole[:-1]: f"model.safetensors has {len(whole) - 1:,} bytes, but its header describes "
        f"{len(whole):,}.",
        b"PK" * 90: "model.safetensors does not start with the header of a safetensors file.",
        whole[:4]: "model.safetensors does not start with the header of a safetensors file.",
    }.items():
        (base / "model.safetensors").write_bytes(content)
        assert refusal(base) == f"{reason} Download the model again."


def test_a_missing_shard_is_named_and_counted(base):
    (base / "model.safetensors").rename(base / "model-00001-of-00003.safetensors")
    names = {f"w{n}": f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)}
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert refusal(base) == (
        "model.safetensors.index.json lists 3 files, of which 2 are missing. The first is "
        "model-00002-of-00003.safetensors. Download the model again."
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["model.Q4_K_M.gguf"], "holds GGUF files"),
        (["config.json", "model.gguf"], "holds GGUF files"),
        (["params.json", "consolidated.00.pth"], "an original checkpoint"),
        (["config.json", "model.onnx"], "an ONNX export"),
        (["config.json"], "the folder holds no weights: neither model.safetensors nor pytorch_"),
        (["readme.md"], "the folder holds no config.json."),
        (["adapter_config.json", "adapter_model.safetensors"], "is an adapter, not a base model."),
        (["config.json", "adapter_config.json"], "is an adapter, not a base model."),
    ],
)
def test_a_folder_of_another_kind_is_told_what_it_holds(tmp_path, files, reason):
    for name in files:
        (tmp_path / name).write_text("{}")
    assert reason in refusal(tmp_path)


def test_a_base_with_an_adapter_next_to_it_is_refused(base):
    (base / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert refusal(base).startswith("holds an adapter next to its weights")


def test_weights_that_are_integers_are_refused(base):
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"].to(torch.int32)
    save_file(weights, base / "model.safetensors")
    assert refusal(base).startswith(
        "1 weights of model.safetensors are not floating-point numbers, and its "
        "config.json names no quantization. The first is model.norm.weight of type I32."
    )


@pytest.mark.parametrize("quant", ["none", "fp4", "int8"])
def test_a_base_that_is_stored_in_nf4_is_nothing_else(base, quant):
    config_of(base, quantization_config=NF4)
    assert refusal(base, quant) == (
        f"is already stored in nf4, and quant.type={quant} cannot change that. Use quant=nf4, or "
        "the 16-bit model that it was made from."
    )


def test_a_base_that_is_stored_as_claimed_is_accepted(base):
    config_of(base, quantization_config=NF4)
    quant = QuantConfig(type=Quantization.nf4, double_quant=True, compute_dtype=Precision.fp32)
    check_base_files(ModelConfig(name="m", source=str(base)), quant)
    assert refusal(base, "nf4", double_quant=False).startswith(
        "is already stored in nf4 with double quantization. Use quant.double_quant=true, or"
    )


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("gptq", "GPTQ, which needs the package gptqmodel and a GPU; no adapter is trained on it"),
        ("awq", "AWQ, which needs the package gptqmodel and a GPU; no adapter is trained on it"),
        ("hqq", "hqq; no adapter is trained on it"),
        ("", "an unknown type; no adapter is trained on it"),
    ],
)
def test_a_base_in_a_type_that_nothing_dequantizes_is_refused(base, method, what):
    config_of(base, quantization_config={"quant_method": method, "bits": 4})
    assert refusal(base, "nf4") == (
        f"is already stored in {what} here. Use the 16-bit model that it was made from, with "
        "quant=nf4."
    )


def test_compressed_tensors_needs_its_package(base, monkeypatch):
    from anima_exp.model import stored_types

    config_of(base, quantization_config={"quant_method": "compressed-tensors"})
    monkeypatch.setattr(stored_types, "find_spec", lambda _: None)
    assert refusal(base, "nf4") == (
        "is already stored in compressed-tensors, which needs the package compressed-tensors. "
        "Install it with `pip install compressed-tensors`, or use the 16-bit model that it was "
        "made from, with quant=nf4."
    )


@pytest.mark.parametrize("quant", ["none", "nf4", "int8"])
@pytest.mark.parametrize("method", ["fp8", "mxfp4"])
def test_a_base_in_a_type_that_is_dequantized_is_quantized_as_wanted(base, method, quant):
    config_of(base, quantization_config={"quant_method": method})
    kind = QuantConfig(
        type=Quantization(quant), double_quant=quant == "nf4", compute_dtype=Precision.fp32
    )
    check_base_files(ModelConfig(name="m", source=str(base)), kind)


def test_the_files_of_another_tokenizer_are_checked_too(base):
    (base / "tokenizer.json").write_bytes(POINTER)
    with pytest.raises(ModelError, match=r"^model\.tokenizer=.*Git LFS pointer"):
        check_tokenizer_files(ModelConfig(name="m", source="tiny", tokenizer=str(base)))


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 9}, 9),
        ({"n_positions": 8, "n_ctx": 7}, 8),
        ({"max_seq_len": 6}, 6),
        ({"context_length": 5}, 5),
        ({"max_position_embeddings": None}, None),
        ({}, None),
    ],
)
def test_the_context_is_known_by_all_its_names(config, length):
    assert context_length(config) == length


def test_generate_and_evaluate_say_it_before_they_load_a_tokenizer(tmp_path):
    from types import SimpleNamespace

    from anima_exp.inference.saved_model import check_base

    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    quant = QuantConfig(type=Quantization.nf4, compute_dtype=Precision.fp32)
    model = ModelConfig(name="m", source=str(tmp_path))
    config = SimpleNamespace(run=None, model=model, quant=quant, prompts=None)
    with pytest.raises(ModelError, match="holds GGUF files"):
        check_base(config)
    config.export_prompts = str(tmp_path / "prompts")  # for which the tokenizer is enough
    check_base(config)
