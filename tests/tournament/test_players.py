"""Who wrote which answer: by the ids, for released files' names lie."""

import pytest
from support import games

from anima_exp.errors import DataError
from anima_exp.system.hashing import short_id
from anima_exp.tournament.players import identify, read_answers
from anima_exp.tournament.reading import players, read, same


def file(folder, name, first, second, score=1, questions=range(6)):
    """A released file; `first` and `second` wrote the answers, whatever its name says."""
    rows = [games.released(question, first, second, score) for question in questions]
    return games.write(folder / f"{name}-gpt-4-reviewer.jsonl", rows)


def who(folder, answers=(), **options):
    rows = read([folder])
    found, notes = identify(rows, read_answers(answers), **options)
    return {
        row.file.name.partition("-gpt-4")[0]: pair for row, pair in zip(rows, found, strict=True)
    }, notes


def test_the_one_in_all_files_is_known_and_so_are_the_others(tmp_path):
    for name in ("ada", "bob"):  # the names are the wrong way round, as in the released files
        file(tmp_path, f"{name}-vs-chat", "chat", name)
        file(tmp_path, f"chat-vs-{name}", name, "chat")
    found, notes = who(tmp_path)
    assert found["ada-vs-chat"] == ("chat", "ada")
    assert found["chat-vs-bob"] == ("bob", "chat")
    assert notes == [
        "4 of 4 file names have the two players swapped. The answer ids say whose answer is shown "
        "first."
    ]


def test_names_that_are_right_stay_and_need_no_note(tmp_path):
    for first, second in (("a", "b"), ("b", "c"), ("c", "a")):
        file(tmp_path, f"{first}-vs-{second}", first, second)
    found, notes = who(tmp_path)
    assert found == {"a-vs-b": ("a", "b"), "b-vs-c": ("b", "c"), "c-vs-a": ("c", "a")}
    assert notes == []


def test_an_answer_that_two_models_share_makes_them_not_one(tmp_path):
    for first, second in (("a", "b"), ("b", "c"), ("c", "a")):
        rows = [games.released(question, first, second, 1) for question in range(6)]
        rows.append(games.released(9, "yes", "yes", 3))  # both say "Yes."
        games.write(tmp_path / f"{first}-vs-{second}.jsonl", rows)
    assert who(tmp_path)[0]["b-vs-c.jsonl"] == ("b", "c")


def test_two_files_of_one_pair_are_not_guessed(tmp_path):
    file(tmp_path, "ada-vs-chat", "chat", "ada")
    file(tmp_path, "chat-vs-ada", "ada", "chat")
    with pytest.raises(DataError, match=r"ada-vs-chat.*says whether ada or chat.*trust_names=true"):
        who(tmp_path)
    found, notes = who(tmp_path, trust_names=True)
    assert found["ada-vs-chat"] == ("ada", "chat")
    assert notes == ["In 2 files only the file name says who is shown first."]


def test_the_answers_of_one_of_them_settle_it(tmp_path):
    file(tmp_path / "r", "ada-vs-chat", "chat", "ada")
    rows = [{"answer_id": f"chat-{q}", "text": "x", "model_id": "chat:2023"} for q in range(6)]
    answers = games.write(tmp_path / "answer_chat.jsonl", rows)
    found, notes = who(tmp_path / "r", [answers])
    assert found == {"ada-vs-chat": ("chat", "ada")}
    assert len(notes) == 1


def test_names_that_contradict_the_ids_are_an_error(tmp_path):
    file(tmp_path, "a-vs-b", "x", "y")
    file(tmp_path, "c-vs-d", "x", "z")
    with pytest.raises(DataError, match=r"c-vs-d.*share no player with c and d"):
        who(tmp_path)


def test_spellings_of_files_are_joined_and_it_is_said(tmp_path):
    for first, second in (("gpt-3.5", "b"), ("answer-gpt35", "c"), ("b", "c")):
        rows = [games.released(q, first[-1], second[-1], 1) for q in range(6)]  # ids end in 5, b, c
        games.write(tmp_path / f"{first}-vs-{second}.jsonl", rows)
    found, notes = who(tmp_path)
    assert found["answer-gpt35-vs-c.jsonl"] == ("gpt35", "c")
    assert found["gpt-3.5-vs-b.jsonl"] == ("gpt35", "b")
    assert notes == ["gpt35 and gpt-3.5 are treated as one player."]


def test_names_that_rows_give_are_never_joined(tmp_path):
    rows = [games.ours(q, first, "x", 1) for q in range(3) for first in ("r1-6", "r16")]
    found, notes = identify(read([games.write(tmp_path / "a.jsonl", rows)]), {})
    assert {pair[0] for pair in found} == {"r1-6", "r16"}
    assert notes == []


def test_a_name_without_players_is_an_error(tmp_path):
    file(tmp_path, "verdicts", "a", "b")
    with pytest.raises(DataError, match=r"does not name its players.*Rename it"):
        who(tmp_path)


@pytest.mark.parametrize(
    "name, pair",
    [
        ("7b-guanaco-vicuna-generations-topp0.9-temp0.7-vs-gpt-3.5-gpt4-reviewer",
         ("7b-guanaco", "gpt-3.5")),
        ("answer-bard-vs-answer-gpt4-gpt-4-reviewer-threeclass", ("bard", "gpt4")),
        ("answer_a_vs_answer_b_gpt-4_reviewer", ("a", "b")),
        ("x-vs-y", ("x", "y")),
    ],
)  # fmt: skip
def test_a_files_name_tells_its_players(tmp_path, name, pair):
    assert players(tmp_path / f"{name}.jsonl") == pair


def test_spellings_of_one_player():
    assert same("gpt-3.5", "answer_gpt35")
    assert not same("gpt-3.5", "gpt-4")


def test_an_answer_without_an_id_gets_the_one_of_its_text(tmp_path):
    # uuid.uuid5(NAMESPACE_DNS, "python.org") is in Python's documentation.
    import uuid

    number, letters = uuid.UUID("886313e1-3b8a-5372-9b90-0c9aee199e5d").int, 0
    alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    for letter in short_id("python.org"):
        letters = 57 * letters + alphabet.index(letter)
    assert letters == number
    cut = "Hi. A chat between a curious human and an artificial intelligence assistant."
    path = games.write(tmp_path / "m-vicuna-generations.jsonl", [{"generation_truncated": cut}])
    (key,) = found = read_answers([path])
    assert key == short_id("Hi. ")
    assert (found[key].models, found[key].length) == (("m",), 4)
