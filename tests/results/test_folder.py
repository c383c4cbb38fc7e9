import re

import pytest

from anima_exp.errors import RunError
from anima_exp.results.folder import RunFolder

pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture
def config(compose, tmp_path):
    return lambda *overrides: compose(f"runs_dir={tmp_path}/runs", *overrides)


def begin(config):
    """A run that has computed something."""
    with RunFolder(config) as folder:
        folder.check_inputs(data="d1", base="b1")
        (folder.path / "metrics.jsonl").write_text("{}")


def test_a_folder_is_named_by_what_the_run_computes(config):
    with RunFolder(config()) as folder:
        assert re.fullmatch(r"tiny-sample-[0-9a-f]{10}", folder.path.name)


def test_other_settings_are_refused_by_name(config, tmp_path):
    mine = f"run_dir={tmp_path}/mine"
    begin(config(mine))
    with pytest.raises(RunError) as error, RunFolder(config(mine, "lora.rank=8")):
        pass
    assert str(error.value) == (
        f"{tmp_path}/mine contains a run with other settings: lora.rank=8 now, 64 before. "
        "Nothing was changed. Give another run_dir=..., or none: then the settings name it."
    )


def test_one_process_at_a_time(config):
    with (
        RunFolder(config()),
        pytest.raises(RunError, match=r"is in use by another process \(process \d+ on"),
    ):
        RunFolder(config()).__enter__()


def test_a_folder_is_free_again_after_a_refusal(config, tmp_path):
    mine = f"run_dir={tmp_path}/mine"
    begin(config(mine))
    with pytest.raises(RunError), RunFolder(config(mine, "seed=5")):
        pass
    with RunFolder(config(mine)):
        pass


def test_a_folder_of_other_things_is_left_alone(config, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("hello")
    with pytest.raises(RunError, match=r"contains other files \(chapter1.tex\) but no run"):
        RunFolder(config(f"run_dir={tmp_path}/thesis")).__enter__()
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


def test_why_a_run_failed_is_said_until_it_starts_again(config):
    with RunFolder(config()) as folder:
        folder.mark_failed("out of luck")
        assert (folder.path / "failure.txt").read_text() == "out of luck\n"
    with RunFolder(config()) as folder:
        assert not (folder.path / "failure.txt").exists()


def test_starts_are_counted(config):
    with RunFolder(config()) as folder:
        assert [folder.record_launch(), folder.record_launch(again=True)] == [1, 2]


@pytest.mark.parametrize(
    ("content", "count", "lost"),
    [
        (None, 1, "it is missing"),
        (b"", 1, "it is missing"),
        (b"2026-01-01T00:00:00+00:00\n2026-01-0", 2, "1 lines are damaged"),
        (b"\xff\0\n{}\n", 1, "2 lines are damaged"),
    ],
)
def test_starts_that_are_lost_are_reported(config, capsys, content, count, lost):
    with RunFolder(config()) as folder:
        if content is not None:
            (folder.path / "starts.txt").write_bytes(content)
        assert folder.record_launch(again=True) == count
        told = f"starts.txt: {lost}, so the number of starts in the record is too low"
        assert told in capsys.readouterr().out.replace("\n", " ")
        assert folder.record_launch(again=True) == count + 1
        assert capsys.readouterr().out == ""


DAMAGED = ['{"a": ', "", "[]", "null", "7", "\0\1", "[" * 100_000, "1" * 5000]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["settings.json", "inputs.json"])
def test_damaged_settings_or_inputs_are_one_line_and_left_alone(config, name, content):
    begin(config())
    file = RunFolder(config()).path / name
    file.write_text(content)
    with pytest.raises(RunError) as error, RunFolder(config()) as folder:
        folder.check_inputs(data="d1", base="b1")
    assert str(error.value).startswith(f"{file} is damaged: ") and "\n" not in str(error.value)
    assert file.read_text() == content


@pytest.mark.parametrize("content", [*DAMAGED, "{}", '{"name": 5}'])
def test_a_damaged_record_is_not_done(config, capsys, content):
    folder = RunFolder(config())
    folder.path.mkdir(parents=True)
    assert not folder.done
    (folder.path / "record.json").write_text(content)
    assert not folder.done
    assert capsys.readouterr().out.startswith(f"record   {folder.path}/record.json is damaged and")


def test_a_record_that_cannot_be_read_is_not_made_anew(config, monkeypatch):
    folder = RunFolder(config())
    folder.path.mkdir(parents=True)
    (folder.path / "record.json").write_text("{}")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(RunError, match=r"^Cannot read .*record.json: Permission denied\."):
        print(folder.done)


def test_a_start_that_failed_at_once_does_not_block_the_folder(config, tmp_path):
    mine = f"run_dir={tmp_path}/mine"
    with RunFolder(config(mine)) as folder:
        folder.mark_failed("no such model")
    (tmp_path / "mine" / "settings.json.part").write_text("{")
    with RunFolder(config(mine, "seed=5")):
        pass


def test_a_run_does_not_go_on_with_another_base(config):
    begin(config())
    with RunFolder(config()) as folder:
        folder.check_inputs(data="d1", base="b1")
        with pytest.raises(
            RunError, match=r"was started with a different base: the settings match"
        ):
            folder.check_inputs(data="d1", base="b2")
