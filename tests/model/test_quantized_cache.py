"""A snapshot is the quantized base to the last bit, whole or absent, and never in the way."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from anima_exp.config import (
    LoraConfig,
    ModelConfig,
    Precision,
    QuantConfig,
    TargetModules,
    UseConfig,
)
from anima_exp.config import Quantization as Q
from anima_exp.errors import ModelError
from anima_exp.experiment.run import run
from anima_exp.inference import saved_model
from anima_exp.model import base, quantized_cache
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import load_base
from anima_exp.model.generation import inference_mode
from anima_exp.system import hashing
from anima_exp.system.paths import tiny_base

pytestmark = pytest.mark.usefixtures("shown")

NF4 = QuantConfig(Q.nf4, double_quant=True, compute_dtype=Precision.fp32)
IDS = torch.arange(5, 45)[None]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def worth_it(monkeypatch):
    monkeypatch.setattr(quantized_cache, "_WORTH_BYTES", 0)


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    """A random LLaMA with a head and biases of its own, and a generation config."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=300, attention_bias=True, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(shape)
    model.generation_config.max_new_tokens = 7
    folder = tmp_path_factory.mktemp("untied")
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def load(cache, source="tiny", quant=NF4, precision=Precision.fp32, **model):
    return load_base(ModelConfig(source=source, **model), quant, precision=precision, cache=cache)


def kept(cache):
    return sorted(path for path in cache.glob("bases/*") if not path.name.startswith("."))


def hidden(cache):
    return [p.name for p in cache.glob("bases/.*") if p.suffix != ".lock"]


def everything(model):
    """Every tensor of a model and of its quantization, and what else says how it computes."""
    found = dict(model.state_dict())
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        while state is not None:
            found |= {f"{name}.{key}": value for key, value in vars(state).items()}
            name, state = f"{name}.nested", state.state2
        found[f"{name}.compute_dtype"] = getattr(module, "compute_dtype", None)
    found |= {f"{n}.learns": p.requires_grad for n, p in model.named_parameters()}
    config, generation = model.config.to_dict(), model.generation_config.to_dict()
    return found | {"config": config, "generation": generation, "name": model.name_or_path}


def assert_same(one, other):
    one, other = everything(one), everything(other)
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == other[key].dtype and torch.equal(value, other[key]), key
        elif not key.endswith("state2"):
            assert value == other[key], key


def logits(model, precision=Precision.fp32):
    with torch.no_grad(), inference_mode(model, precision):
        return model(IDS).logits


@pytest.mark.parametrize("source", ["tiny", "untied"])
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16, Precision.fp16])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("kind", [Q.nf4, Q.fp4, Q.int8])
def test_it_is_the_quantized_base_to_the_last_bit(
    cache, untied, kind, double, precision, source, monkeypatch, capsys
):
    monkeypatch.setattr(base, "check_precision", lambda *_: None)  # fp16 is for GPUs
    if kind is Q.int8 and double:
        return  # there is no such thing
    quant = QuantConfig(kind, double_quant=double, compute_dtype=precision)
    source = untied if source == "untied" else source
    plain = load(None, source, quant, precision)
    first, second = (load(cache, source, quant, precision) for _ in range(2))
    said = capsys.readouterr().out.splitlines()
    assert [("kept in" in line, "already quantized" in line) for line in said] == [
        (True, False),
        (False, True),
    ]
    assert str(kept(cache)[0]) in said[0] and str(kept(cache)[0]) in said[1]
    assert_same(plain, first)
    assert_same(plain, second)
    torch.testing.assert_close(  # in fp16 a CPU's int8 gives NaN, with and without a snapshot
        logits(plain, precision), logits(second, precision), rtol=0, atol=0, equal_nan=True
    )


def test_an_adapter_on_it_learns_the_same(cache, untied):
    def gradients():
        torch.manual_seed(1)
        lora = LoraConfig(target_modules=TargetModules.all_linear, rank=4, dropout=0.0)
        model = add_lora(load(cache, untied), lora)
        logits(model)  # an evaluation must not repack the weights
        model.train()(IDS, labels=IDS).loss.backward()
        assert model.peft_config["default"].base_model_name_or_path == untied
        return [p.grad for p in model.parameters() if p.requires_grad]

    first, second = gradients(), gradients()
    assert len(first) > 10 and all(map(torch.equal, first, second))
    assert len(kept(cache)) == 1


def test_a_run_keeps_it_and_whoever_asks_its_model_loads_it(compose, cache, tmp_path, capsys):
    config = compose(
        "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=1", "trainer.batch_size=2",
        "evals=[heldout]", "tracking=none", f"cache_dir={cache}",
        f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    run(config)
    assert "kept in" in capsys.readouterr().out
    saved_model.load_saved_model(UseConfig(**vars(config), run=str(tmp_path / "run")))
    assert "already quantized" in capsys.readouterr().out
    assert len(kept(cache)) == 1


def test_weights_in_several_files_are_the_same(cache, monkeypatch):
    monkeypatch.setattr(quantized_cache, "_SHARD", "100KB")
    assert_same(load(cache), load(cache))
    assert len(list(kept(cache)[0].glob("*.safetensors"))) > 2


def test_a_base_of_the_hub_no_longer_needs_its_own_weights(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--org--name"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    shutil.copytree(tiny_base(), repo / "snapshots" / COMMIT)
    first = load(cache, "org/name")
    about = json.loads((kept(cache)[0] / "SNAPSHOT").read_text())
    assert about["of"]["base"] == f"hub:{COMMIT}"
    (repo / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert_same(first, load(cache, "org/name"))


def test_weights_of_a_folder_are_not_opened(cache, untied, monkeypatch):
    import safetensors
    from transformers import modeling_utils

    load(cache, untied)
    opened = []

    def spy(file, *args, **how):
        opened.append(Path(file).parent)
        return safetensors.safe_open(file, *args, **how)

    monkeypatch.setattr(modeling_utils, "safe_open", spy)
    load(cache, untied)
    assert set(opened) == {kept(cache)[0]}


def test_another_base_or_another_way_to_store_it_is_another_snapshot(cache, untied, tmp_path):
    other = shutil.copytree(untied, tmp_path / "other")
    LlamaForCausalLM.from_pretrained(untied).apply(
        lambda module: getattr(module, "weight", torch.empty(0)).data.mul_(2)
    ).save_pretrained(other)
    load(cache, untied)
    load(cache, str(other))
    load(cache, untied, replace(NF4, double_quant=False))
    load(cache, untied, replace(NF4, compute_dtype=Precision.bf16))
    load(cache, untied, NF4, Precision.bf16)
    assert len(kept(cache)) == 5
    load(cache, untied, max_memory_gib=9)
    assert len(kept(cache)) == 5


def test_the_same_weights_elsewhere_are_the_same_snapshot(cache, untied, tmp_path):
    load(cache, untied)
    moved = shutil.copytree(untied, tmp_path / "moved" / Path(untied).name)
    assert load(cache, str(moved)).config.name_or_path == str(moved)
    assert len(kept(cache)) == 1


@pytest.mark.parametrize("damage", ["shorter", "gone", "flipped", "another config", "no SNAPSHOT"])
def test_a_damaged_one_is_told_and_built_anew(cache, damage, capsys, monkeypatch):
    monkeypatch.setattr(hashing, "LARGE", 1000)
    first = load(cache)
    (folder,) = kept(cache)
    weights = folder / "model.safetensors"
    match damage:
        case "shorter":
            os.truncate(weights, weights.stat().st_size // 2)
        case "flipped":
            with weights.open("r+b") as file:
                file.seek(weights.stat().st_size // 2)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 1]))
        case "gone":
            weights.unlink()
        case "another config":
            (folder / "config.json").write_text("{}")
        case "no SNAPSHOT":
            (folder / "SNAPSHOT").unlink()
    capsys.readouterr()
    assert_same(first, load(cache))
    damaged, written = capsys.readouterr().out.splitlines()
    assert damaged == f"base     the quantized cache {folder} is damaged: quantizing again"
    assert "kept in" in written
    assert_same(first, load(cache))
    assert kept(cache) == [folder] and hidden(cache) == []


def test_one_of_an_earlier_version_is_made_anew(cache, capsys):
    load(cache)
    (folder,) = kept(cache)
    about = json.loads((folder / "SNAPSHOT").read_text())
    (folder / "SNAPSHOT").write_text(json.dumps({"of": about["of"], "files": about["sha256"]}))
    capsys.readouterr()
    load(cache)
    said = capsys.readouterr().out
    assert f"the quantized cache {folder} was written by an earlier version of anima-exp: " in said
    assert "sha256" in json.loads((folder / "SNAPSHOT").read_text())


def test_one_of_a_later_version_is_not_used_and_not_touched(cache, capsys):
    load(cache)
    (folder,) = kept(cache)
    about = json.loads((folder / "SNAPSHOT").read_text())
    assert about["schema_version"] == 1
    (folder / "SNAPSHOT").write_text(json.dumps({**about, "schema_version": 99}))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    load(cache)
    said = capsys.readouterr().out
    why = "was written by a later version of anima-exp: quantizing again"
    assert f"the quantized cache {folder} {why}" in said
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert kept(cache) == [folder] and hidden(cache) == []


def test_others_of_the_group_can_read_it(cache):
    load(cache)
    (folder,) = kept(cache)
    mode = folder.stat().st_mode & 0o666
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {mode}


def test_of_several_at_once_one_writes(cache, monkeypatch, capsys):
    model = load(None)
    place = quantized_cache.cache_entry_of(
        ModelConfig(source="tiny"), NF4, dtype=torch.float32, where=base.device(), cache=cache
    )
    save, writers = type(model).save_pretrained, []

    def slowly(self, folder, **how):
        writers.append(folder)
        assert not place.folder.exists()
        time.sleep(0.5)
        save(self, folder, **how)

    monkeypatch.setattr(type(model), "save_pretrained", slowly)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(copy_context().run, place.keep, model) for _ in range(4)]:
            done.result()
    assert len(writers) == 1
    place.keep(model)  # it is there already
    assert len(writers) == 1 and "not cached" not in capsys.readouterr().out
    assert_same(model, load(cache))


def test_one_killed_as_it_writes_leaves_nothing_in_the_way(cache, monkeypatch):
    def half(self, folder, **_):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        os._exit(9)

    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "save_pretrained", half)
        if (child := os.fork()) == 0:
            load(cache)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert kept(cache) == [] and len(hidden(cache)) == 1
    load(cache)
    assert len(kept(cache)) == 1 and hidden(cache) == []


def test_what_others_left_unfinished_is_removed_after_a_day(cache):
    (cache / "bases" / ".old.part").mkdir(parents=True)
    (cache / "bases" / ".new.part").mkdir()
    os.utime(cache / "bases" / ".old.part", (0, 0))
    load(cache)
    assert hidden(cache) == [".new.part"]


def test_a_full_disk_is_told_and_the_run_goes_on(cache, monkeypatch, capsys):
    def full(self, folder, **_):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", full)
    assert_same(load(None), load(cache))
    (told,) = capsys.readouterr().out.splitlines()
    assert told == (
        "base     not cached, so the next run quantizes again: [Errno 28] No space left on device"
    )
    assert kept(cache) == [] and hidden(cache) == []


def test_the_last_gigabyte_of_a_disk_is_left_alone(cache, monkeypatch, capsys):
    usage = shutil._ntuple_diskusage(10**12, 10**12, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    load(cache)
    assert "bases has 1.0 GB free" in capsys.readouterr().out
    assert kept(cache) == []


def test_a_cache_that_cannot_be_written_is_told(cache, capsys):
    cache.write_text("a file")
    load(cache)
    assert "not cached, so" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("quant", "model"),
    [
        (replace(NF4, cache_quantized=False), {}),
        (QuantConfig(Q.none, compute_dtype=Precision.fp32), {}),
        (NF4, {"trust_remote_code": True}),
    ],
)
def test_none_is_kept_where_it_is_not_wanted(cache, quant, model):
    load(cache, quant=quant, **model)
    assert not cache.exists()


def test_a_small_base_is_quantized_each_time(cache, monkeypatch, capsys):
    monkeypatch.undo()
    load(cache)
    assert kept(cache) == [] and capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:You passed `quantization_config`")
def test_a_base_published_in_4_bits_is_not_kept_again(cache, tmp_path):
    load(None).save_pretrained(tmp_path / "published")
    load(cache, str(tmp_path / "published"))
    assert kept(cache) == []


def test_a_base_that_cannot_be_found_is_told_as_ever(cache):
    for source in ("no/such", "/no/such/folder"):
        with pytest.raises(ModelError, match=r"no such folder"):
            load(cache, source)
