"""A base split over processes computes what the whole base does, in half the memory."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.sharded_process import STORAGES, WAYS
from support.small_models import small

from anima_exp.errors import ModelError
from anima_exp.model.fsdp import shard_base

PROCESS = Path(__file__).parents[1] / "support" / "sharded_process.py"


def run_together(folder, commands, *, seconds=120):
    """Each command as a process; all end when one fails, or after `seconds`."""
    logs = [folder / f"{number}.log" for number in range(len(commands))]
    started = []
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("w") as file:
                started.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
        patience = time.monotonic() + seconds
        while None in (ended := [process.poll() for process in started]) or any(ended):
            logged = "\n".join(log.read_text() for log in logs)
            assert not any(ended), logged
            assert time.monotonic() < patience, f"after {seconds} s still running\n{logged}"
            time.sleep(0.05)
    finally:
        for process in started:
            process.kill()
            process.wait()


def process(folder, rank):
    return [sys.executable, str(PROCESS), str(folder), str(rank), "2"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes found, before and after it split its model."""
    folder = tmp_path_factory.mktemp("sharded")
    small(hidden_size=128, intermediate_size=256, head_dim=32).save_pretrained(folder / "base")
    run_together(folder, [process(folder, rank) for rank in range(2)])
    return [json.loads((folder / str(rank) / "facts.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("way", [way.value for way in WAYS])
@pytest.mark.parametrize("storage", STORAGES)
def test_loss_and_gradients_are_the_same_to_the_last_bit(found, storage, way):
    assert all(one[storage][way] for one in found)


@pytest.mark.parametrize("storage", ["none", "nf4", "nf4-double", "fp4"])
def test_each_computes_its_rows_and_the_sum_is_the_batchs_gradient(found, storage):
    assert max(one[storage]["sum off by"] for one in found) < 1e-4


@pytest.mark.parametrize("storage", STORAGES)
def test_each_process_keeps_half_of_the_blocks_and_frees_the_rest(found, storage):
    for one in (processes[storage] for processes in found):
        half = one["blocks whole"] / 2
        assert one["frozen whole"] - one["frozen here"] == half
        assert one["memory saved"] == pytest.approx(half, rel=0.02)


@pytest.mark.parametrize("storage", STORAGES)
def test_answers_are_the_same(found, storage):
    for one in (processes[storage] for processes in found):
        assert one["answers whole"] == one["answers before training"]
        assert one["answers whole"] == one["answers after training"]
        assert all(len(text.split()) > 3 for text in one["answers whole"])


@pytest.mark.parametrize("storage", STORAGES)
def test_the_adapter_is_saved_and_loaded_whole(found, storage):
    for one in (processes[storage] for processes in found):
        assert one["adapter saved"] and one["adapter loaded"]


def test_nothing_frozen_and_a_second_copy_are_refused(found):
    nothing, copied = found[0]["refusals"]
    assert nothing == (
        "trainer.fsdp=true splits the frozen weights of decoder blocks, but "
        "LlamaForCausalLM has none (lora=full_finetune trains every weight). "
        "Leave trainer.fsdp at null."
    )
    assert copied == (
        "quant.cache_dequantized=true keeps a full copy of the base model in every process, so "
        "trainer.fsdp=true would save no memory. Set one of them to false."
    )


def test_one_process_is_refused():
    with pytest.raises(ModelError, match=r"but this run has one\. Set trainer\.num_gpus to"):
        shard_base(small())


def test_a_process_that_dies_fails_the_others_instead_of_leaving_them_waiting(tmp_path):
    dying = [sys.executable, "-c", "raise SystemExit('gone')"]
    with pytest.raises(AssertionError, match="gone"):
        run_together(tmp_path, [process(tmp_path, 0), dying])
