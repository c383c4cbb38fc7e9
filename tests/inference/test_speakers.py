"""One question: stdout holds its answer alone, whatever else there is to say."""

import subprocess
import sys

import pytest

from anima_exp.errors import DataError
from anima_exp.inference.speakers import ChatParticipant, answer_once

QUESTION = "What is 3 plus 4?"


@pytest.fixture
def said(tiny, asked):
    """said("question") -> what was written, and what was told beside it."""

    def _said(question, names=("base",), **settings):
        written, told = [], []
        who = asked(**({"temperature": 0} | settings))
        speakers = [ChatParticipant(name, None, who) for name in names]
        answer_once(*tiny, speakers, question, write=written.append, tell=told.append)
        return "".join(written), told

    return _said


def test_one_speaker_answers_without_a_name(said):
    assert said(QUESTION) == ("7\n", [])


def test_several_open_their_lines_with_their_names(said):
    assert said(QUESTION, ("base", "run-a")) == ("base   7\nrun-a  7\n", [])


def test_what_is_to_know_about_an_answer_is_no_part_of_it(said):
    assert said(QUESTION, max_new_tokens=1)[1] == [
        "truncated after 1 tokens, at max_new_tokens or at the end of the model's context."
    ]


def test_a_question_beyond_the_context_is_one_line(said):
    with pytest.raises(DataError, match=r"The prompt has \d+ tokens, but the context of .* holds"):
        said("word " * 2000)


def test_the_answer_is_that_of_a_chats_first_question(tiny, asked, said):
    from anima_exp.inference.chat import Chat

    written = []
    speaker = ChatParticipant("base", None, asked(temperature=1.0))
    Chat(*tiny, [speaker], write=written.append).run([QUESTION])
    assert said(QUESTION, temperature=1.0)[0] == f"{speaker.history[0][1]}\n"


def test_piped_it_is_the_answer_alone_with_any_sign_in_the_question(tmp_path):
    question = 'What\'s "3, 4" = {7}? $x ${y} [猫] \\'
    how = ("temperature=0", "max_new_tokens=5")
    ended = subprocess.run(
        [sys.executable, "-m", "anima_exp.generate", "model=tiny", f"prompt={question}", *how],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, input="",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 1 and ended.stdout.strip()
    assert all(
        line.startswith("anima_exp: truncated after 5") for line in ended.stderr.splitlines()
    )
    assert list(tmp_path.iterdir()) == []
