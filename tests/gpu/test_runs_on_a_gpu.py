"""Short runs on a GPU: learning, the curve of a CPU, resuming, memory, use. Run with -m gpu."""

import json
import os
import subprocess
import sys

import pytest
import torch

from anima_exp.errors import RunPaused
from anima_exp.experiment.run import run
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]

SHORT = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=6", "trainer.batch_size=8",
    "trainer.log_every=1", "trainer.save_every=2", "evals=[heldout]", "lora.dropout=0.1",
    "tracking=none",
)  # fmt: skip
BF16 = "trainer.precision=bf16"
two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")


def losses(folder):
    return [row["loss"] for row in JsonLinesLog(folder / "metrics.jsonl").rows() if "loss" in row]


def command(name, *arguments, before="", **environment):
    """A command in a process of its own, after the line `before` of Python."""
    code = f"{before}\nimport runpy; runpy.run_module('anima_exp.{name}', run_name='__main__')"
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )
    if found.returncode:  # no assertion about numbers, which a hollow GPU would forgive
        raise RuntimeError(found.stdout[-2000:] + found.stderr[-4000:])
    return found.stdout


@pytest.fixture(scope="module")
def on_a_cpu(tmp_path_factory):
    """The losses of the short run in fp32 on the CPU."""
    folder = tmp_path_factory.mktemp("cpu") / "run"
    command("train", *SHORT, f"run_dir={folder}", CUDA_VISIBLE_DEVICES="")
    found = losses(folder)
    assert len(found) == 6 and found[-1] < found[0]
    return found


@pytest.fixture(scope="module")
def trained(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(compose(*SHORT, BF16, f"run_dir={folder}"))
    return folder


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        (["trainer.precision=fp32"], 2e-3),  # products round to TF32
        ([BF16], 2e-2),
        (["trainer.precision=fp16"], 2e-2),
        ([BF16, "trainer.activation_checkpointing=selective"], 2e-2),
        ([BF16, "trainer.activation_checkpointing=full"], 2e-2),
        ([BF16, "quant.cache_dequantized=false", "trainer.max_tokens_per_micro_batch=100"], 2e-2),
        ([BF16, "optimizer=adamw"], 2e-2),
        ([BF16, "optimizer=paged_adamw_8bit"], 5e-2),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_the_losses_are_those_of_a_cpu(compose, tmp_path, on_a_cpu, settings, tolerance):
    run(compose(*SHORT, *settings, f"run_dir={tmp_path}/run"))
    assert losses(tmp_path / "run") == pytest.approx(on_a_cpu, rel=tolerance)


@pytest.mark.parametrize("quant", ["nf4", "fp4", "int8", "none"])
def test_a_base_in_each_storage_learns_and_its_memory_is_measured(compose, tmp_path, quant):
    run(compose(*SHORT, BF16, f"quant={quant}", f"run_dir={tmp_path}/run"))
    record = Record.load(tmp_path / "run")
    assert record.scores["heldout_loss"] < record.scores_before["heldout_loss"]
    assert record.hardware["gpu"]
    assert 0 < record.peak_memory_gib < 4


@pytest.mark.parametrize("optimizer", ["paged_adamw_32bit", "paged_adamw_8bit", "adamw"])
def test_a_stopped_run_goes_on_with_the_losses_of_one_that_was_not(compose, tmp_path, optimizer):
    """Rank 512, so that there are states large enough to be paged."""
    settings = (*SHORT, BF16, f"optimizer={optimizer}", "lora.rank=512")
    run(compose(*settings, f"run_dir={tmp_path}/whole"))
    resumed = compose(*settings, f"run_dir={tmp_path}/resumed")
    with pytest.raises(RunPaused):
        run(resumed, until=3)
    run(resumed)
    assert Record.load(tmp_path / "resumed").starts == 2
    # FlashAttention's backward pass adds in any order.
    found, expected = losses(tmp_path / "resumed"), losses(tmp_path / "whole")
    assert found == pytest.approx(expected, rel=1e-2)


def test_a_step_that_is_out_of_memory_is_done_again_with_the_same_losses(tmp_path):
    large = (
        *SHORT, BF16, "data.max_rows=1024", "trainer.batch_size=512", "trainer.max_steps=2",
        "trainer.max_tokens_per_micro_batch=100000",
        "trainer.activation_checkpointing=none", "quant.cache_dequantized=false",
    )  # fmt: skip
    grows = "from anima_exp.system.hardware import use_expandable_segments as use; use()"
    at_exit = (
        "import atexit, torch; atexit.register(lambda: print('allocated', "
        "torch.cuda.max_memory_allocated() / torch.cuda.get_device_properties(0).total_memory))"
    )
    said = command("train", *large, f"run_dir={tmp_path}/whole", before=at_exit)
    share = float(said.split("allocated ")[-1])
    little = f"{grows}; import torch; torch.cuda.set_per_process_memory_fraction({0.7 * share})"
    command("train", *large, f"run_dir={tmp_path}/short", before=little)
    execution = Record.load(tmp_path / "short").execution
    assert execution["out_of_memory"] > 0 and execution["token_budget"] < 100_000
    found, expected = losses(tmp_path / "short"), losses(tmp_path / "whole")
    assert found == pytest.approx(expected, rel=1e-2)


@two_gpus
@pytest.mark.parametrize(
    "settings",
    [
        ["model.device_map=balanced"],
        ["trainer.num_gpus=2"],
        ["trainer.num_gpus=2", "trainer.fsdp=true"],
    ],
    ids=" ".join,
)
def test_two_gpus_have_the_losses_of_a_cpu(tmp_path, on_a_cpu, settings):
    command("train", *SHORT, BF16, *settings, f"run_dir={tmp_path}/run")
    assert losses(tmp_path / "run") == pytest.approx(on_a_cpu, rel=2e-2)


def test_an_adapter_answers_alike_whatever_the_batch(trained, tmp_path):
    files = [tmp_path / f"{size}.jsonl" for size in (1, 4)]
    for size, file in zip((1, 4), files, strict=True):
        command(
            "generate", f"run={trained}", "questions=tiny_zh", "temperature=0",
            "max_new_tokens=16", f"batch_size={size}", f"out={file}",
        )  # fmt: skip
    answers = [
        [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        for file in files
    ]
    assert answers[0] and len(answers[0]) == len(answers[1])
    alike = sum(one == other for one, other in zip(*answers, strict=True))
    assert alike >= 0.8 * len(answers[0])  # two tokens of nearly one probability may change places


def test_a_later_evaluation_has_the_score_of_the_run(trained):
    before = Record.load(trained).scores["heldout_loss"]
    command("evaluate", f"run={trained}", "evals=[heldout]")
    (file,) = (trained / "evaluations").glob("*.json")
    scores = json.loads(file.read_text(encoding="utf-8"))["scores"]
    assert scores["heldout_loss"] == pytest.approx(before, rel=1e-3)


def test_a_merged_model_is_proved(trained, tmp_path):
    command("merge", f"run={trained}", f"out={tmp_path}/merged", "verify_rows=8")
    proof = json.loads((tmp_path / "merged" / "merge.json").read_text(encoding="utf-8"))["proof"]
    assert 0 <= proof["merged"]["divergence"] < 0.2
