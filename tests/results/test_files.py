import pytest

from anima_exp.errors import RunError
from anima_exp.results.files import publish_folder, write_text, writing


def test_a_file_is_replaced_in_one_step(tmp_path):
    write_text(tmp_path / "a", "old")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_takes_the_place_of_another_whole(tmp_path):
    for name, text in (("draft", "new"), ("final", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(text)
    (tmp_path / "final" / "left-over").write_text("")
    publish_folder(tmp_path / "draft", tmp_path / "final")
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_full_disk_is_one_line(tmp_path, error):
    with (
        pytest.raises(RunError, match=r"Cannot write to .*the same command goes on from the"),
        writing(tmp_path),
    ):
        raise error


def test_a_bug_stays_a_bug(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        print(1 / 0)
