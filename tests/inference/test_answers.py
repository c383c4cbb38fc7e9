"""An answers file has FastChat's fields, and goes on under the settings it was begun with only."""

import json
import re

import pytest

from anima_exp.config import AnsweringConfig
from anima_exp.errors import DataError, InUseError, RunError
from anima_exp.inference import answer_file
from anima_exp.inference.answers import report, write
from anima_exp.inference.questions import Question, load
from anima_exp.system.hashing import short_id

pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / "tiny.jsonl"


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    config = AnsweringConfig(max_questions=12)
    return load("tiny_en", config, key="questions", cache=tmp_path_factory.mktemp("cache"))


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_a_row_has_fastchats_fields_and_says_how_it_was_made(tiny, asked, questions, path):
    written = write(*tiny, questions, asked(temperature=0), path)
    assert (written.answers, written.new, written.cut) == (12, 12, 0)
    found = rows(path)
    assert [row["question_id"] for row in found] == list(range(1, 13))
    assert {row["model_id"] for row in found} == {"tiny"}
    assert all(re.fullmatch(r"[2-9A-HJ-NP-Za-km-z]{22}", row["answer_id"]) for row in found)
    assert len({row["answer_id"] for row in found}) == 12
    first = found[0]
    assert first["question"] == questions[0].text
    assert first["prompt"] == f"### Human: {questions[0].text}### Assistant: "
    assert (first["category"], first["reference"], first["finish"]) == ("addition", "20", "stop")
    assert first["metadata"]["temperature"] == 0 and first["metadata"]["stop"] == ["###"]
    right = sum(row["text"] == row["reference"] for row in found)
    assert written.match == right / 12 > 0.5


def test_the_id_of_a_text_is_that_of_published_files():
    # python -c "import shortuuid; print(shortuuid.uuid('anima'))", and one that begins with zeros
    assert short_id("anima") == short_id("anima") != short_id("Anima")
    assert all(len(short_id(str(number))) == 22 for number in range(2000))


def test_batches_change_no_byte_of_the_file(tiny, asked, questions, tmp_path):
    files = []
    for size in (1, 8):
        files.append(tmp_path / f"{size}.jsonl")
        write(*tiny, questions, asked(batch_size=size, temperature=1.3), files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
    other = tmp_path / "other.jsonl"
    write(*tiny, questions, asked(temperature=1.3, sampling_seed=1), other)
    assert [r["text"] for r in rows(other)] != [r["text"] for r in rows(files[0])]


@pytest.mark.parametrize("kept", ["no line", "two lines", "two and a half"])
def test_it_goes_on_where_it_stopped(tiny, asked, questions, path, kept, capsys):
    how = asked(temperature=1.3, batch_size=4)
    write(*tiny, questions, how, path)
    whole = path.read_bytes()
    cuts = {"no line": 0, "two lines": 2, "two and a half": 2}
    lines = whole.split(b"\n")
    left = b"".join(line + b"\n" for line in lines[: cuts[kept]])
    path.write_bytes(left + (lines[2][:300] if kept == "two and a half" else b""))
    written = write(*tiny, questions, how, path)
    assert path.read_bytes() == whole
    assert written.new == 12 - cuts[kept]
    assert write(*tiny, questions, how, path).new == 0
    assert f"12 of 12 answers are already in {path}" in capsys.readouterr().out.replace("\n", "")


def test_more_questions_are_added_to_the_file(tiny, asked, questions, path):
    write(*tiny, questions[:5], asked(), path)
    assert write(*tiny, questions, asked(), path).new == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temperature": 0.5}, "temperature=0.5 now, 0.7 in the file"),
        ({"stop": ["END"]}, 'stop=["END"] now, ["###"] in the file'),
        (
            {"top_p": 1.0, "sampling_seed": 3},
            "top_p=1.0 now, 0.9 in the file; sampling_seed=3 now, 0",
        ),
    ],
)
def test_other_settings_are_refused_by_name(tiny, asked, questions, path, settings, told):
    write(*tiny, questions[:2], asked(), path)
    before = path.read_bytes()
    with pytest.raises(RunError) as error:
        write(*tiny, questions, asked(**settings), path)
    assert told in str(error.value) and "Choose another out=FILE." in str(error.value)
    assert "\n" not in str(error.value) and path.read_bytes() == before


def test_other_questions_are_refused(tiny, asked, questions, path):
    write(*tiny, questions[:2], asked(), path)
    with pytest.raises(
        RunError, match=r"line 2 answers question 2, which is not among the questions"
    ):
        write(*tiny, questions[:1], asked(), path)
    with pytest.raises(RunError, match=r"line 1: the text of question 1 has changed"):
        write(*tiny, [Question(1, "Other?"), *questions[1:]], asked(), path)


def test_a_question_answered_twice_is_refused(tiny, asked, questions, path):
    write(*tiny, questions[:1], asked(), path)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(RunError, match=r"line 2 answers question 1 twice"):
        write(*tiny, questions, asked(), path)


@pytest.mark.parametrize("content", ["my notes", "my notes\n", '{"a": 1}\n', "[1]\n", "\xff\n"])
def test_a_file_of_something_else_is_never_overwritten(tiny, asked, questions, path, content):
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    with pytest.raises(RunError, match=r"Choose another out=FILE"):
        write(*tiny, questions[:1], asked(), path)
    assert path.read_text(encoding="latin-1") == content


def test_two_processes_do_not_write_one_file(tiny, asked, questions, path):
    with (
        answer_file.claimed(path),
        pytest.raises(InUseError, match="is being written by another process"),
    ):
        write(*tiny, questions[:1], asked(), path)


def test_what_was_cut_is_counted_and_told(tiny, asked, questions, path, capsys):
    written = write(*tiny, questions, asked(max_new_tokens=1, temperature=0), path)
    assert written.cut == sum(row["finish"] == "length" for row in rows(path)) > 6
    report(written, path, 1)
    assert f'{written.cut} were truncated ("finish": "length") at max_new_tokens=1' in (
        capsys.readouterr().out
    )


def test_empty_answers_are_counted_and_told(tiny, asked, questions, path, capsys):
    written = write(*tiny, questions, asked("plain", stop=["1", "2", " "], temperature=0), path)
    assert written.empty == sum(not row["text"] for row in rows(path)) > 0
    report(written, path, 24)
    assert f"{written.empty} are empty\n" in capsys.readouterr().out


def test_a_question_too_long_for_the_model_is_told_before_any_is_asked(tiny, asked, path):
    with pytest.raises(
        DataError, match=r"The prompt of question 7 has \d+ tokens, but the context of .* holds"
    ):
        write(*tiny, [Question(1, "Hi"), Question(7, "word " * 2000)], asked(), path)
    assert not path.exists()


def test_without_references_there_is_no_score(tiny, asked, path):
    assert write(*tiny, [Question(1, "Hi")], asked(max_new_tokens=2), path).match is None
    assert "reference" not in rows(path)[0]
