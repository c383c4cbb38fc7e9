"""The whole command: from a run, or an adapter on its base, to a folder; or one line."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from anima_exp.errors import AnimaError, ConfigError, ModelError, RunError, RunInterrupted
from anima_exp.merging import run as command
from anima_exp.model.stored_tensors import Tensors
from anima_exp.system.paths import tiny_base

IDS = torch.tensor([[1, 17, 300, 42, 8, 99, 512, 7]])


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def plain(folder, dtype=torch.float32):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def by_peft(base, adapter):
    import peft

    return peft.PeftModel.from_pretrained(plain(base), adapter).merge_and_unload()


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_becomes_a_folder_for_plain_transformers(runs, merge, tmp_path, capsys):
    from transformers import AutoTokenizer

    out = tmp_path / "merged"
    merge(f"run={runs[0]}", f"out={out}", "dtype=fp32")
    expected = logits(by_peft(tiny_base(), runs[0] / "adapter"))
    torch.testing.assert_close(logits(plain(out)), expected, atol=1e-4, rtol=1e-4)
    assert AutoTokenizer.from_pretrained(out)("10+2").input_ids
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    assert (out / "generation_config.json").is_file()
    about = json.loads((out / "merge.json").read_text())
    proof = about["proof"]
    assert 0 < proof["merged"]["divergence"] < 0.1 < proof["base"]["divergence"]
    assert proof["trained"]["loss"] < proof["base"]["loss"]
    assert about["base"]["fingerprint"].startswith("sha256:")
    assert about["settings"]["lora.rank"] == 64
    assert about["settings"]["verify_rows"] == 16
    assert "base in nf4 + adapter, as trained" in capsys.readouterr().out
    assert left_in(tmp_path) == ["merged"]


def test_what_is_not_merged_stays_as_it_was_bit_for_bit(runs, merge, tmp_path):
    out = tmp_path / "merged"
    merge(f"run={runs[0]}", f"out={out}")
    before, after = (load_file(one / "model.safetensors") for one in (tiny_base(), out))
    assert before.keys() == after.keys()
    assert {one.dtype for one in after.values()} == {torch.float16}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "proj" not in name}


def test_merged_onto_what_it_was_trained_on_it_is_the_trained_model(runs, merge, tmp_path, capsys):
    out = tmp_path / "merged"
    merge(f"run={runs[0]}", f"out={out}", "target=dequantized", "dtype=fp32")
    proof = json.loads((out / "merge.json").read_text())["proof"]
    assert proof["merged"]["divergence"] < 1e-8
    assert proof["merged"]["agreement"] == 1
    assert proof["again"]["divergence"] > 1e-4


def test_a_folder_is_a_model_for_the_other_commands(runs, merge, settings, tmp_path):
    from anima_exp.inference.saved_model import load_saved_model

    out = tmp_path / "merged"
    merge(f"run={runs[0]}", f"out={out}", "dtype=fp32")
    config = settings("model=local", f"model.source={out}", "quant=none", "trainer.precision=fp32")
    assert torch.allclose(logits(load_saved_model(config)[0]), logits(plain(out)), atol=1e-5)


BASES = {
    "sharded": {"max_shard_size": "300KB"},
    "bin": {"bin_files": True},
    "untied": {"tied": False},
    "fp32": {"dtype": torch.float32},
}


@pytest.mark.parametrize("kind", BASES)
def test_a_base_of_any_files_merges_as_peft_does(kind, tiny_as, adapter_for, merge, tmp_path):
    base = tiny_as(kind, **BASES[kind])
    adapter = adapter_for(base)
    out = tmp_path / "merged"
    how = ("dtype=fp32", "trainer.precision=fp32", "max_shard_gib=0.0003", "max_divergence=9")
    merge("model=local", f"model.source={base}", f"adapter={adapter}", f"out={out}", *how)
    expected = logits(by_peft(base, adapter))
    torch.testing.assert_close(logits(plain(out)), expected, atol=1e-4, rtol=1e-4)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = sorted(out.glob("*.safetensors"))
    assert len(files) > 5
    for file in files:
        assert len(load_file(file)) == 1 or file.stat().st_size < 0.0003 * 2**30 + 2000
        assert all(index["weight_map"][name] == file.name for name in load_file(file))


def test_the_type_is_the_bases_own_or_bf16(tiny_as, adapter_for, merge, tmp_path):
    base = tiny_as("wide", dtype=torch.float32)
    out = tmp_path / "merged"
    merge("model=local", f"model.source={base}", f"adapter={adapter_for(base)}", f"out={out}",
          "max_divergence=9")  # fmt: skip
    assert {one.dtype for one in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"


def test_an_empty_folder_is_taken_and_a_full_one_refused(runs, merge, settings, tmp_path):
    (tmp_path / "empty").mkdir()
    merge(f"run={runs[0]}", f"out={tmp_path / 'empty'}", "verify=false")
    assert (tmp_path / "empty" / "config.json").is_file()
    with pytest.raises(ConfigError, match="already exists and is not overwritten"):
        merge(f"run={runs[0]}", f"out={tmp_path / 'empty'}")


def test_without_a_proof_the_command_says_so(runs, merge, tmp_path, capsys):
    merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}", "verify=false")
    assert "verification skipped (verify=false)" in capsys.readouterr().out
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["proof"] is None


def test_too_little_room_is_told_before_anything_is_loaded(runs, merge, tmp_path, monkeypatch):
    small = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    monkeypatch.setattr(command.verification, "trained", None)
    with pytest.raises(
        RunError, match=r"needs 0\.1 GB, but only 0\.0 GB are free there\. Free some"
    ):
        merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}")


def test_a_model_that_cannot_be_loaded_to_be_proved_is_told_first(
    runs, merge, tmp_path, monkeypatch
):
    monkeypatch.setattr(command.verification.provenance, "free_memory", lambda: 10)
    with pytest.raises(
        ModelError, match=r"this machine has 0\.0 GiB free\. Skip the verification with"
    ):
        merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}")


@pytest.mark.parametrize("where", ["write", "verification.merged"])
def test_ctrl_c_leaves_nothing(runs, merge, tmp_path, monkeypatch, where):
    def interrupt(*_):
        raise KeyboardInterrupt

    place, _, name = where.rpartition(".")
    monkeypatch.setattr(getattr(command, place) if place else command, name, interrupt)
    with pytest.raises(RunInterrupted, match="nothing was written to") as stopped:
        merge(f"run={runs[0]}", f"out={tmp_path / 'merged'}")
    assert stopped.value.exit_status == 130
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["out=x"], "Which adapter? Give run=FOLDER, or adapter=FOLDER_OR_HUB_ID."),
        (["run=nowhere", "out=x"], "run=nowhere is not a run folder: there is no such folder."),
        (
            ["adapter=./nowhere", "out=x"],
            "adapter=./nowhere: there is no such folder, and it is not a hub id.",
        ),
        (["adapter=no/where", "model=tiny", "out=x"], "adapter=no/where: no such folder, and "),
        (["adapter=x", "model=tiny"], "Where to? Give out=FOLDER, which must not exist yet."),
        (
            ["adapter=x", "model=tiny", "out=x", "max_shard_gib=0"],
            "max_shard_gib=0.0 must be greater than 0.",
        ),
        (
            ["adapter=x", "model=tiny", "out=x", "quant=int8", "target=dequantized"],
            "target=dequantized needs a base",
        ),
    ],
)
def test_what_cannot_be_merged_is_one_line(arguments, line, merge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnimaError) as mistake:
        merge(*arguments)
    assert str(mistake.value).startswith(line)
    assert "\n" not in str(mistake.value)
    assert left_in(tmp_path) == []


def test_the_program_prints_one_line(tmp_path):
    started = [sys.executable, "-m", "anima_exp.merge", "dtpye=bf16"]
    ended = subprocess.run(started, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr == "anima_exp: There is no setting 'dtpye'. Did you mean 'dtype'?\n"


def test_a_run_of_every_weight_has_nothing_to_merge(settings):
    config = settings("adapter=x", "model=tiny", "out=x", "lora=full_finetune", "quant=none")
    config.run, config.adapter = "runs/full", None
    with pytest.raises(ConfigError, match=r"the whole model is runs/full/model"):
        command.check(config)


def test_a_run_is_merged_onto_its_own_base_only(runs, tiny_as, merge, tmp_path):
    other = tiny_as("other", tied=False)
    with pytest.raises(ConfigError, match=r"was trained on another base: the files of"):
        merge(f"run={runs[0]}", f"model.source={other}", f"out={tmp_path / 'merged'}")


def test_an_adapter_is_not_merged_twice(runs, merge, tmp_path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    merge(f"run={runs[0]}", f"out={once}", "verify=false")
    with pytest.raises(ConfigError, match="already contains this adapter"):
        merge("model=local", f"model.source={once}", f"adapter={runs[0] / 'adapter'}",
              f"out={twice}")  # fmt: skip
    assert not twice.exists()


def test_numbers_beyond_the_chosen_type_are_refused(tiny_as, adapter_for, merge, tmp_path):
    base = tiny_as("base")
    adapter = adapter_for(base)
    file = adapter / "adapter_model.safetensors"
    save_file({name: one * 1e4 for name, one in load_file(file).items()}, file)
    with pytest.raises(ModelError, match=r"not finite in fp16\. Use dtype=bf16"):
        merge("model=local", f"model.source={base}", f"adapter={adapter}",
              f"out={tmp_path / 'merged'}", "verify=false")  # fmt: skip
    assert not (tmp_path / "merged").exists()


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(ModelError, match=r"model\.safetensors: the weights cannot be read"):
        Tensors([tmp_path / "model.safetensors"])


def test_a_log_tells_how_far_a_large_merge_is(monkeypatch, capsys):
    from anima_exp.merging.console import Writing

    with Writing(5_000_000_000) as writing:
        for _ in range(50):
            writing.more(100_000_000)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 10
    assert told[0] == "merged   500.0 MB of 5.0 GB"
