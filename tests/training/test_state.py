"""The state of optimizer, schedule and random numbers: written, read back, of earlier versions."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bitsandbytes import optim

from anima_exp.errors import NewerFileError, RunError, RunPaused
from anima_exp.experiment.run import run
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.training import checkpoint, old_state, state
from anima_exp.training import weights as tensors
from anima_exp.training.state import RandomState, State

OLD = Path(__file__).parent / "old_checkpoint" / "checkpoint-4"


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def eight_bit():
    """An optimizer with states of 8 bits of two matrices, after three steps."""
    torch.manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(64, 96)) for _ in range(2)]
    optimizer = optim.AdamW(matrices, lr=0.01, optim_bits=8, is_paged=True)
    for _ in range(3):
        for one in matrices:
            one.grad = torch.randn(64, 96)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("file_bytes", [2**30, 7000], ids=["one file", "several files"])
def test_an_8_bit_optimizer_is_read_back_as_it_was(tmp_path, monkeypatch, file_bytes):
    monkeypatch.setattr(tensors, "_FILE_BYTES", file_bytes)
    optimizer = eight_bit()
    kept = State(optimizer.state_dict()["state"], [0.1, 1e-5 / 3], 3, {"scale": 1024.0})
    state.save(tmp_path, kept, RandomState.now())
    assert len([*tmp_path.glob("optimizer*.safetensors")]) == (1 if file_bytes == 2**30 else 6)
    found, _ = state.load(tmp_path)
    assert same(found.optimizer, kept.optimizer)
    assert (found.learning_rates, found.schedule) == (kept.learning_rates, kept.schedule)
    assert found.scaler == kept.scaler


def test_the_table_that_all_weights_share_is_written_once(tmp_path):
    optimizer = eight_bit()
    kept = State(optimizer.state_dict()["state"], [0.01], 3, {})
    state.save(tmp_path, kept, RandomState.now())
    names = json.loads((tmp_path / state.FILE).read_text())["optimizer"]
    first, second = (flat(one) for one in names.values())
    assert first["qmap1"] == second["qmap1"] and first["state1"] != second["state1"]


def flat(values):
    """Without the group in which newer versions of bitsandbytes put what is quantized."""
    inner = [one for one in values.values() if isinstance(one, dict)]
    return values | (inner[0] if inner else {})


def test_random_numbers_go_on_where_they_were(tmp_path):
    def drawn():
        return random.gauss(0, 1), np.random.normal(), torch.rand(()).item()

    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    drawn()  # an odd number of Gaussians: each generator keeps half a pair
    state.save(tmp_path, State({}, [], 0, {}), RandomState.now())
    expected = drawn()
    drawn()
    state.load(tmp_path)[1].restore()
    assert drawn() == expected


def test_a_state_of_a_newer_version_is_refused_in_one_line(tmp_path):
    state.save(tmp_path, State({}, [], 0, {}), RandomState.now())
    values = json.loads((tmp_path / state.FILE).read_text())
    (tmp_path / state.FILE).write_text(json.dumps(values | {"schema_version": 99}))
    with pytest.raises(
        NewerFileError, match=r"^\S+/state.json has schema version 99, but this version"
    ):
        state.load(tmp_path)


def test_states_of_a_paged_optimizer_are_paged_again():
    class Parameter:
        device = torch.device("cuda")

    class Stub:
        """What of bitsandbytes' optimizer is used, with a GPU that is none."""

        param_groups = ()
        state = {Parameter(): {}}  # noqa: RUF012

        def state_dict(self):
            return {"state": {}, "param_groups": []}

        def load_state_dict(self, values, move_to_device):
            assert not move_to_device  # they would be on the GPU twice
            for one in self.state.values():
                one |= values["state"][0]

        def get_state_buffer(self, parameter, dtype):
            page = torch.zeros(3, dtype=dtype)
            page.is_paged = True
            return page

    stub = Stub()
    saved = {"step": 7, "state1": torch.arange(3.0), "state2": torch.ones(3), "absmax1": None}
    schedule, scaler = SimpleNamespace(), torch.amp.GradScaler("cpu", enabled=False)
    state.restore(State({0: saved}, [], 7, {}), stub, schedule, scaler)
    (found,) = stub.state.values()
    assert all(found[name].is_paged for name in ("state1", "state2"))
    assert found["state1"].tolist() == [0, 1, 2] and found["step"] == 7
    assert schedule.last_epoch == 7


@pytest.mark.parametrize("begun_by", ["bitsandbytes", "torch"])
def test_the_other_librarys_adamw_goes_on_with_the_same_states(begun_by, tmp_path):
    """Of one run bitsandbytes' pages states on a small GPU, torch's is faster on a large one."""
    import bitsandbytes

    def weights():
        torch.manual_seed(0)
        return [torch.nn.Parameter(torch.randn(8, 600)), torch.nn.Parameter(torch.randn(3))]

    def step(parameters, optimizer, number):
        generator = torch.Generator().manual_seed(number)
        for one in parameters:
            one.grad = torch.randn(one.shape, generator=generator)
        optimizer.step()

    libraries = {
        "bitsandbytes": lambda of: bitsandbytes.optim.AdamW(of, lr=0.01, is_paged=True),
        "torch": lambda of: torch.optim.AdamW(of, lr=0.01, weight_decay=0.01, fused=True),
    }
    begun, other = weights(), weights()
    first = libraries.pop(begun_by)(begun)
    second = libraries.popitem()[1](other)
    for number in range(3):
        step(begun, first, number)
    schedule = torch.optim.lr_scheduler.ConstantLR(first)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state.save(tmp_path, state.state_of(first, schedule, scaler), state.RandomState.now())
    state.restore(state.load(tmp_path)[0], second, schedule, scaler)
    for one, there in zip(other, begun, strict=True):
        one.data.copy_(there)
    for number in range(3, 6):
        step(begun, first, number)
        step(other, second, number)
    for one, expected in zip(other, begun, strict=True):
        assert torch.allclose(one, expected, rtol=0, atol=1e-6)


def test_an_old_checkpoint_holds_what_it_held():
    found, numbers = old_state.load(OLD)
    assert found.schedule == 4 and found.scaler == {}
    assert found.learning_rates[0] == pytest.approx(0.002 * 4 / 6)  # the 4th of 6 to warm up
    assert len(found.optimizer) == 20  # A and B of two matrices in each of five blocks
    assert {one["step"] for one in found.optimizer.values()} == {4}
    assert numbers.torch.shape == (5056,) and len(numbers.numpy[1]) == 624 and numbers.cuda == []


def test_no_program_in_an_old_checkpoint_is_run(tmp_path):
    class Program:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for name in ("optimizer.pt", "scheduler.pt"):
        torch.save(Program(), tmp_path / name)
    with pytest.raises(RunError, match=r"optimizer.pt holds more than numbers, .* Nothing in it"):
        old_state.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_old_checkpoint_is_resumed_like_the_same_one_of_today(compose, tmp_path):
    import shutil

    def settings(folder):
        return compose(
            f"run_dir={folder}", "lora=key_query", "lora.rank=1", "data.max_rows=64",
            "data.heldout_rows=16", "evals=[heldout]", "trainer.max_steps=12",
            "trainer.batch_size=4",
            "trainer.log_every=1", "optimizer.schedule=cosine", "optimizer.warmup_ratio=0.5",
            "trainer.save_every=20", "tracking=none",
        )  # fmt: skip

    def curve(folder):
        kept = ("step", "loss", "grad_norm", "learning_rate", "heldout_loss")
        rows = JsonLinesLog(folder / "metrics.jsonl").rows()
        return [{key: row[key] for key in kept if key in row} for row in rows]

    with pytest.raises(RunPaused):
        run(settings(tmp_path / "old"), until=4)
    place = Path("checkpoints") / "checkpoint-4"
    shutil.copytree(tmp_path / "old", tmp_path / "today")
    shutil.rmtree(tmp_path / "old" / place)
    shutil.copytree(OLD, tmp_path / "old" / place)
    draft = tmp_path / "today" / "checkpoints" / checkpoint.DRAFT / "checkpoint-4"
    draft.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors", "meter.json"):
        shutil.copy(OLD / name, draft)
    state.save(draft, *old_state.load(OLD))
    checkpoint.publish(draft, draft.parents[1], keep=1)
    for folder in ("old", "today"):
        assert checkpoint.checkpoint_problem(tmp_path / folder / place, step=4) is None
        run(settings(tmp_path / folder))
    found = curve(tmp_path / "old")
    assert found == curve(tmp_path / "today")
    trained = Path("adapter") / "adapter_model.safetensors"
    assert (tmp_path / "old" / trained).read_bytes() == (tmp_path / "today" / trained).read_bytes()
    assert [row["step"] for row in found if "loss" in row] == [*range(1, 13)]
    by_step = {row["step"]: row for row in found if "loss" in row}
    assert by_step[5]["learning_rate"] == pytest.approx(0.002 * 4 / 6)
