"""A dry run refuses what the run would refuse, and imports nothing heavy to know it."""

import json
import subprocess
import sys

import pytest

from anima_exp.config import Precision
from anima_exp.errors import ConfigError, DataError, ModelError
from anima_exp.experiment.preflight import check_dry, check_files, check_inputs
from anima_exp.libraries import hub
from anima_exp.system import hardware

pytestmark = pytest.mark.usefixtures("shown")

HEAVY = ("torch", "transformers", "datasets", "peft", "bitsandbytes")


@pytest.fixture
def rows(tmp_path):
    """A file of ten rows."""
    file = tmp_path / "rows.json"
    found = [{"instruction": f"Add {n}.", "input": "", "output": str(n)} for n in range(10)]
    file.write_text(json.dumps(found), encoding="utf-8")
    return file


def refused(compose, *overrides):
    config = compose(*overrides)
    with pytest.raises((ConfigError, DataError, ModelError)) as told:
        check_inputs(config)
        check_dry([config])
    return str(told.value)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.recipe=alpcaa"], "data.recipe=alpcaa: there is no such recipe."),
        (["data.prompt_template=alpcaa"], "data.prompt_template=alpcaa: there is no such prompt"),
        (["trainer.precision=fp16"], "trainer.precision=fp16 needs a GPU. On a CPU use fp32 or"),
        (["evals=[mmlu]", "evals.mmlu.path=/none"], "evals.mmlu.path=/none: there is no such fol"),
        (["model=local", "model.source=/none"], "model.source=/none: there is no such folder."),
        (["model.tokenizer=./none"], "model.tokenizer=./none: there is no such folder in /"),
        (["data=local", "data.path=/none/x.json"], "data.path=/none/x.json: no such file."),
        (["data.max_rows=5", "data.heldout_split=null", "data.heldout_rows=5"],
         "data.heldout_rows=5 leaves nothing to train on: there are 5 rows."),
        (["data.recipe=messages", "data.template=chatlm"],
         "data.template=chatlm is no chat template. Choose tokenizer, one of chatml, llama3,"),
        (["data.recipe=messages", "data.template=/none/x.jinja"],
         "data.template=/none/x.jinja cannot be read: No such file or directory."),
        (["data.recipe=messages", "data.template=llama3"],
         "data.template=llama3 writes <|start_header_id|>, which is no token of tiny: it would"),
        (["data.template=chatml"],
         "data.template=chatml is for conversations, but data.recipe=guanaco reads prompts and"),
        (["data=mixture", "data.parts.a.source=sample", "data.parts.b.source=sample",
          "data.parts.a.max_rows=90", "data.parts.b.max_rows=90", "data.heldout_rows=9",
          "data.parts.a.recipe=messages", "data.parts.b.recipe=alpaca", "data.template=llama3"],
         "data.template=llama3 writes <|start_header_id|>, which is no token of tiny: it would"),
        (["data.recipe=messages", "data.train_on_source=true"],
         "data.train_on_source=true is for prompts and responses, but data.recipe=messages reads"),
        (["data.train_on=last"],
         "data.train_on=last is for conversations, but data.recipe=guanaco reads prompts and"),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_is_refused(compose, monkeypatch, overrides, line):
    monkeypatch.setattr(hardware, "gpus", lambda: [])
    assert refused(compose, *overrides).startswith(line)


def test_rows_of_a_file_are_read_as_the_run_would(compose, rows):
    local = ["data=local", f"data.path={rows}"]
    check_dry([compose(*local, "data.heldout_rows=9")])
    assert "there are 10 rows" in refused(compose, *local, "data.heldout_rows=10")
    broken = [*json.loads(rows.read_text()), {"instruction": "no output"}]
    rows.write_text(json.dumps(broken))
    assert "rows.json, row 11: " in refused(compose, *local, "data.heldout_rows=5")
    check_dry([compose(*local, "data.heldout_rows=5", "data.on_bad_row=skip")])


def test_a_broken_conversation_is_found_with_its_message(compose, tmp_path):
    file = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    broken = [*turns, {"role": "user", "content": " "}, turns[1]]
    lines = [json.dumps({"messages": each}) for each in (*[turns] * 5, broken)]
    file.write_text("\n".join(lines))
    local = ["data=local", "data.recipe=messages", f"data.path={file}", "data.heldout_rows=2"]
    for more in ([], ["data.template=guanaco"]):
        assert refused(compose, *local, *more) == (
            f"{file}, line 6: message 3 (user): the turn is empty. Use data.on_bad_row=skip to "
            "leave out and count such rows."
        )
    check_dry([compose(*local, "data.on_bad_row=skip")])


def test_a_gpu_without_bf16_is_refused(compose, monkeypatch):
    turing = hardware.Gpu("GPU-1", "Tesla T4", 15.0, 7.5)
    monkeypatch.setattr(hardware, "gpus", lambda: [turing])
    line = refused(compose, "trainer.precision=bf16")
    assert line.startswith(
        "trainer.precision=bf16 does not work on Tesla T4, which has no bf16 instructions."
    )
    hardware.check_precision(Precision.fp16)
    monkeypatch.setattr(hardware, "gpus", lambda: None)  # a GPU that nothing lists
    hardware.check_precision(Precision.bf16)


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, "AB"), ("1", "B"), ("", ""), ("-1", ""), ("1,0", "BA"), ("GPU-b", "B"), ("0,7", "A")],
)
def test_gpus_are_those_that_cuda_would_show(monkeypatch, visible, names):
    both = tuple(hardware.Gpu(f"GPU-{n.lower()}", n, 80.0, 9.0) for n in "AB")
    monkeypatch.setattr(hardware, "_listed", lambda: both)
    monkeypatch.setattr(hardware, "_torch_for_cpu", lambda: False)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert "".join(gpu.name for gpu in hardware.gpus()) == names


def test_without_a_network_a_dry_run_says_what_it_could_not_check(compose, monkeypatch, capsys):
    config = compose("model=smollm2_135m")
    monkeypatch.setattr("anima_exp.model.base_config.hub.file", _unreachable)
    check_dry([config, config])
    assert capsys.readouterr().err == (
        "anima_exp: ids on the hub were not checked: HF_HUB_OFFLINE is set.\n"
    )
    monkeypatch.setattr(hub, "unreachable", lambda: None)
    with pytest.raises(ModelError, match="no such repository"):
        check_dry([config])


def _unreachable(*_, **__):
    raise ModelError("no such repository")


def test_plans_of_a_run_and_of_a_grid_agree_about_missing_files(tmp_path):
    last = []
    for grid in ([], ["-m"]):
        local = ["data=local", "data.path=no.json", "trainer.max_steps=5"]
        command = [sys.executable, "-m", "anima_exp.plan", *grid, *local]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert ended.returncode == 1
        last.append(ended.stderr.splitlines())
    assert last[0] == last[1]
    (line,) = last[0]
    assert line.startswith("anima_exp: data.path=no.json: no such file.")


def test_a_plan_needs_no_base_on_this_machine(compose):
    check_files(compose("model=local", "model.source=/none"))


def test_a_dry_run_imports_nothing_heavy(tmp_path, rows):
    code = f"""
import runpy, sys
sys.argv = ["train", "dry_run=true", "runs_dir={tmp_path}", "data=local", "data.path={rows}",
            "data.heldout_rows=2", "trainer.max_steps=1", "model=smollm2_135m"]
runpy.run_module("anima_exp.train", run_name="__main__")
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
