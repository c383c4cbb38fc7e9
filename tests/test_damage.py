"""Checkpoints and journals that lost or changed bytes; disks that are full or lose power."""

import errno
import json
import os
import pkgutil
import shutil
import subprocess
from pathlib import Path

import pytest

from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.errors import RunError
from anima_exp.experiment.run import run
from anima_exp.model_card.card import of_folder
from anima_exp.results.journal import MetricsLog
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.training import checkpoint

OLD = Path(__file__).parent / "training" / "old_checkpoint"  # as written before state.json
pytestmark = pytest.mark.usefixtures("shown")

SHORT = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=8", "trainer.batch_size=8",
    "trainer.log_every=3", "trainer.eval_every=3", "trainer.save_every=4", "tracking=none",
    "evals=[heldout]",
)  # fmt: skip


def curve(folder):
    """Every figure but those of time and memory."""
    timed = {"tokens_per_second", "eval_seconds", "memory_gib"}
    rows = JsonLinesLog(folder / "metrics.jsonl").rows()
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def adapter(folder):
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(compose, tmp_path_factory):
    """A finished run with checkpoints of the steps 4 and 8."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(compose(*SHORT, f"run_dir={folder}"))
    assert [path.name for path in checkpoint.all_checkpoints(folder / "checkpoints")] == [
        "checkpoint-4", "checkpoint-8",
    ]  # fmt: skip
    return folder


@pytest.fixture
def unfinished(whole, tmp_path):
    """The same run as if it had been killed after its last step."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "record.json").unlink()
    shutil.rmtree(folder / "adapter")
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_losses(path):
    path.write_text(path.read_text().replace('"loss": ', '"loss": 1'))


NEEDED = {
    "optimizer.safetensors", "adapter_model.safetensors", "meter.json", "random.safetensors",
    "state.json",
}  # fmt: skip
DAMAGES = {"removed": Path.unlink, "cut": cut, "flipped": flip}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_to_any_file_of_a_checkpoint_is_noticed(whole, tmp_path, damage):
    saved = whole / "checkpoints" / "checkpoint-8"
    names = [path.name for path in saved.iterdir() if path.name != checkpoint.FILE]
    assert {*names} >= NEEDED
    assert checkpoint.checkpoint_problem(saved, step=8) is None
    for name in names:
        copy = tmp_path / name / "checkpoint-8"
        shutil.copytree(saved, copy)
        DAMAGES[damage](copy / name)
        problem = checkpoint.checkpoint_problem(copy, step=8)
        assert problem is not None and name in problem and "\n" not in problem


@pytest.mark.parametrize("content", ["", "{}", "[]", "\0\1", "[" * 100_000, '{"step": 8}'])
def test_a_damaged_manifest_is_a_damaged_checkpoint(whole, tmp_path, content):
    shutil.copytree(whole / "checkpoints" / "checkpoint-8", tmp_path / "checkpoint-8")
    (tmp_path / "checkpoint-8" / checkpoint.FILE).write_text(content)
    problem = checkpoint.checkpoint_problem(tmp_path / "checkpoint-8", step=8)
    assert problem is not None and problem.startswith(f"{checkpoint.FILE}: ")


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_old_checkpoint_without_manifest_counts_if_it_looks_complete(tmp_path, damage):
    copy = tmp_path / "checkpoint-4"
    shutil.copytree(OLD / "checkpoint-4", copy)
    (copy / checkpoint.FILE).unlink()
    assert checkpoint.checkpoint_problem(copy, step=4) is None
    needed = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "meter.json", "adapter_config.json"}
    for name in {"optimizer.pt"} if damage == "flipped" else needed:  # others have no checksum
        content = (copy / name).read_bytes()
        DAMAGES[damage](copy / name)
        problem = checkpoint.checkpoint_problem(copy, step=4)
        assert problem is not None and problem.startswith(name)
        (copy / name).write_bytes(content)
    if damage != "flipped":
        DAMAGES[damage](copy / "adapter_model.safetensors")
        assert "weights" in checkpoint.checkpoint_problem(copy, step=4).replace(
            "adapter_model", "weights"
        )


def test_a_checkpoint_of_today_without_manifest_is_not_whole(whole, tmp_path):
    copy = tmp_path / "checkpoint-8"
    shutil.copytree(whole / "checkpoints" / "checkpoint-8", copy)
    (copy / checkpoint.FILE).unlink()
    assert checkpoint.checkpoint_problem(copy, step=8) == "manifest.json is missing"


def test_training_resumes_from_the_newest_whole_checkpoint(compose, whole, unfinished, capsys):
    saved = unfinished / "checkpoints"
    flip(saved / "checkpoint-8" / "optimizer.safetensors")
    run(compose(*SHORT, f"run_dir={unfinished}"))
    expected = (
        f"resume   {saved}/checkpoint-8 cannot be used: "
        "the bytes of optimizer.safetensors have changed\n"
    )
    assert expected in capsys.readouterr().out
    assert curve(unfinished) == curve(whole)
    assert adapter(unfinished) == adapter(whole)
    assert checkpoint.newest_whole(saved, print) == saved / "checkpoint-8"  # made anew


def test_without_a_whole_checkpoint_training_starts_again(tmp_path):
    for step in (1, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
    said = []
    assert checkpoint.newest_whole(tmp_path, said.append) is None
    assert said == [
        f"resume   {tmp_path}/checkpoint-2 cannot be used: its weights are missing",
        f"resume   {tmp_path}/checkpoint-1 cannot be used: its weights are missing",
        "resume   no checkpoint is complete: training starts again at step 0",
    ]


def test_a_checkpoint_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "checkpoint-1").mkdir()
    refusal = PermissionError(errno.EACCES, "Permission denied", "state.json")

    def refuse(*_, **__):
        raise refusal

    monkeypatch.setattr(checkpoint, "checkpoint_problem", refuse)
    with pytest.raises(RunError, match=r"^Cannot read state.json: Permission denied\. Make it"):
        checkpoint.newest_whole(tmp_path, print)


def test_a_damaged_checkpoint_does_not_push_out_a_whole_one(tmp_path):
    (tmp_path / "checkpoint-9").mkdir()  # nothing in it
    for step in (4, 6):
        draft = tmp_path / checkpoint.DRAFT / f"checkpoint-{step}"
        draft.mkdir(parents=True)
        checkpoint.publish(draft, tmp_path, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-6"]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (Path.unlink, "metrics.jsonl contains 0 of the 5 lines"),
        (
            lambda path: path.write_text("\n".join(path.read_text().split("\n")[2:])),
            "contains 3 of the 5 lines",
        ),
        (other_losses, "metrics.jsonl contains other lines than those"),
        (lambda path: path.write_bytes(b"\xff\0"), "metrics.jsonl contains 0 of the 5 lines"),
    ],
    ids=["removed", "without its first lines", "flipped", "garbage"],
)
def test_a_journal_that_lost_lines_is_reported(compose, unfinished, capsys, damage, what):
    damage(unfinished / "metrics.jsonl")
    mark = checkpoint.journal(unfinished / "checkpoints" / "checkpoint-8")
    MetricsLog(unfinished, tracker=None, steps=8, resumed_at=8, vouched=mark).close()
    told = " ".join(capsys.readouterr().out.split())
    assert f"{what} that the run wrote up to step 8: the run resumes, but its curves" in told
    assert told.count("journal ") == 1


def test_a_journal_that_is_whole_is_not_reported(unfinished, capsys):
    for step in (8, 4):
        mark = checkpoint.journal(unfinished / "checkpoints" / f"checkpoint-{step}")
        assert mark["metrics.jsonl"]["lines"] == {4: 3, 8: 5}[step]
        MetricsLog(unfinished, tracker=None, steps=8, resumed_at=step, vouched=mark).close()
        MetricsLog(unfinished, tracker=None, steps=8, resumed_at=step).close()
        assert "journal" not in capsys.readouterr().out


def test_what_a_checkpoint_or_record_relies_on_is_on_the_disk_before_it(
    compose, tmp_path, monkeypatch
):
    folder, events = tmp_path / "run", []
    sync, replace = os.fsync, Path.replace

    def recorded_sync(handle):
        sync(handle)
        path = os.readlink(f"/proc/self/fd/{handle}")
        events.append((os.path.relpath(path, folder), os.path.getsize(path)))

    def recorded_replace(path, target):
        moved = replace(path, target)
        events.append((f"-> {os.path.relpath(target, folder)}", 0))
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", recorded_sync)
        patch.setattr(Path, "replace", recorded_replace)
        run(compose(*SHORT, "trainer.max_steps=4", f"run_dir={folder}"))
    names = [name for name, _ in events]
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    at_step = [json.loads(line)["step"] for line in lines]
    before = {
        "-> checkpoints/checkpoint-4": sum(map(len, lines[: at_step.index(4)])),
        "-> record.json": sum(map(len, lines)),
    }
    since = 0
    for moved, expected in before.items():
        until = names.index(moved)
        assert events[since:until].count(("metrics.jsonl", expected)) == 1
        assert ("metrics.jsonl", expected) in events[:until]
        assert "starts.txt" in names[since:until] and "." in names[since:until]
        since = until
    saved = [f"checkpoints/.draft/checkpoint-4/{name}" for name in NEEDED]
    made = names.index("-> checkpoints/.draft/checkpoint-4/manifest.json")
    assert all(name in names[:made] for name in saved)
    assert any(name.startswith(".adapter.part/") for name in names[: names.index("-> adapter")])


@pytest.mark.parametrize("content", ['{"name": ', "", "{}", "[]", "\0", "[" * 100_000])
def test_every_command_has_one_line_for_a_damaged_record(unfinished, content):
    (unfinished / "record.json").write_text(content)
    (unfinished / "adapter").mkdir()
    reads = (
        lambda: expand_run_argument([f"run={unfinished}"]),  # evaluate, generate and merge
        lambda: expand_run_argument([f"adapter={unfinished}/adapter"]),
        lambda: of_folder(unfinished, unfinished / "adapter"),  # merge and publish
    )
    for read in reads:
        with pytest.raises(RunError) as error:
            read()
        assert str(error.value).startswith(f"{unfinished}/record.json is damaged: ")
        assert str(error.value).endswith(
            ". Run the command that trained the run again to rebuild it."
        )
        assert "\n" not in str(error.value)


def test_the_same_command_makes_a_damaged_record_anew(compose, whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    record = folder / "record.json"
    record.write_bytes(record.read_bytes()[:200])
    for name in ("metrics.jsonl", "starts.txt"):
        with (folder / name).open("ab") as file:
            file.write(b"\xff\0{")
    run(compose(*SHORT, f"run_dir={folder}"))
    said = capsys.readouterr().out
    assert f"record   {folder}/record.json is damaged and will be written again: " in said
    assert curve(folder) == curve(whole) and adapter(folder) == adapter(whole)
    assert Record.load(folder).scores == Record.load(whole).scores


class FullDisk:
    """Writing to a path with `part` in it fails, with the error that each library has for it."""

    def __init__(self, monkeypatch, part):
        self.part, self.failed = part, []
        self._patch(monkeypatch, "builtins.open", OSError(errno.ENOSPC, "No space left on device"))
        self._patch(monkeypatch, "io.open", OSError(errno.ENOSPC, "No space left on device"))
        rust = Exception("No space left on device (os error 28)")
        self._patch(monkeypatch, "safetensors.torch.serialize_file", rust, path=1)
        save = "transformers.PreTrainedTokenizerBase.save_pretrained"
        self._patch(monkeypatch, save, rust, path=1, name="tokenizer.json")

    def _patch(self, monkeypatch, target, error, *, path=0, name=""):
        original = pkgutil.resolve_name(target)

        def writing(*args, **kwargs):
            mode = (args[1:2] or [kwargs.get("mode", "r")])[0] if path == 0 else "w"
            place = str(args[path] if len(args) > path else kwargs.get("filename", ""))
            if mode[0] in "wxa" and self.part in f"{place}/{name}":
                self.failed.append(place)
                raise error
            return original(*args, **kwargs)

        monkeypatch.setattr(target, writing)


CHECKPOINT, ADAPTER = ".draft/checkpoint-1", ".adapter.part"
ONE_OF_EACH_LIBRARY = (
    f"{CHECKPOINT}/adapter_model.safetensors", f"{CHECKPOINT}/state.json",
    f"{CHECKPOINT}/tokenizer.json", "run/record.json",
)  # fmt: skip
ALL_OTHERS = (
    *(
        f"{CHECKPOINT}/{name}"
        for name in (
            "adapter_config.json", "README.md", "tokenizer_config.json", "optimizer.safetensors",
            "random.safetensors", "meter.json", "manifest.json",
        )
    ),
    *(
        f"{ADAPTER}/{name}"
        for name in ("adapter_model.safetensors", "tokenizer.json", "README.md")
    ),
    "run/starts.txt", "run/inputs.json", "run/metrics.jsonl",
)  # fmt: skip


@pytest.mark.parametrize(
    "part",
    [*ONE_OF_EACH_LIBRARY, *(pytest.param(one, marks=pytest.mark.slow) for one in ALL_OTHERS)],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    compose, tmp_path, monkeypatch, part
):
    folder = tmp_path / "run"
    settings = [*SHORT, "trainer.max_steps=1", "data.heldout_rows=1", f"run_dir={folder}"]
    with monkeypatch.context() as patch:
        disk = FullDisk(patch, part)
        with pytest.raises(RunError) as error:
            run(compose(*settings))
    assert disk.failed
    place = {".d": folder / "checkpoints", ".a": folder / "adapter", "ru": folder}[part[:2]]
    assert str(error.value).startswith(f"Cannot write to {place}: ")
    assert "\n" not in str(error.value)
    assert [path for path in folder.rglob("*") if path.name.endswith((".part", ".draft"))] == []
    assert (folder / "failure.txt").read_text() == f"{error.value}\n"


@pytest.mark.slow
def test_on_a_disk_that_is_full_a_run_stops_with_one_line_and_resumes_with_room(compose, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=7m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    config = compose(*SHORT, f"run_dir={disk}/run")
    try:
        with pytest.raises(RunError, match=f"^Cannot write to {disk}/run/checkpoints: not every"):
            run(config)
        assert list((disk / "run" / "checkpoints").iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        run(config)
        assert len(curve(disk / "run")) == 6
    finally:
        subprocess.run(["umount", str(disk)], check=True)
