"""A verdict that was given is kept: nothing is asked twice, nothing overwritten, nothing torn."""

import json
from io import FileIO
from pathlib import Path

import pytest
from support.judge_files import answers, config, stored, two, verdicts
from support.judge_server import RELATIVE, serving

from anima_exp.config.commands import Kind
from anima_exp.errors import DataError, InUseError, RunError
from anima_exp.judging.run import judge
from anima_exp.judging.store import Store, read_only


def test_a_second_run_asks_nothing(tmp_path):
    with serving() as server:
        judge(config(tmp_path, server.url))
        before = {p.name: p.read_bytes() for p in (tmp_path / "ratings").rglob("*.jsonl")}
        judge(config(tmp_path, server.url))
        after = {p.name: p.read_bytes() for p in (tmp_path / "ratings").rglob("*.jsonl")}
    assert len(server.bodies) == 4
    assert before == after


def test_a_third_model_costs_its_own_pairs_only(tmp_path):
    files = two(tmp_path)
    with serving() as server:
        judge(config(tmp_path, server.url, files))
        files.append(answers(tmp_path, "gamma", ["g1", "g2"]))
        judge(config(tmp_path, server.url, files))
    assert len(server.bodies) == 4 + 8
    assert len(verdicts(tmp_path)) == 12


CHANGES = {
    "judge_model": "judge-2",
    "temperature": 0.7,
    "max_tokens": 99,
    "kind": Kind.threeclass,
}


@pytest.mark.parametrize("key", CHANGES)
def test_what_a_verdict_depends_on_makes_it_another_one(tmp_path, key):
    with serving() as server:
        judge(config(tmp_path, server.url))
        judge(config(tmp_path, server.url, **{key: CHANGES[key]}))
        assert len(server.bodies) == 8
        judge(config(tmp_path, server.url))  # the first settings are in the store still
        assert len(server.bodies) == 8


def test_a_changed_answer_is_asked_for_and_leaves_no_twin_in_the_pair_files(tmp_path):
    files = two(tmp_path)
    with serving() as server:
        judge(config(tmp_path, server.url, files))
        answers(tmp_path, "beta", ["beta says 0", "beta thought again"])
        judge(config(tmp_path, server.url, files))
    assert len(server.bodies) == 4 + 2
    assert len(stored(tmp_path)) == 6
    rows = verdicts(tmp_path)
    assert len(rows) == len({(row["question_id"], row["model1"]) for row in rows}) == 4


def test_a_renamed_model_is_not_asked_for_again(tmp_path):
    with serving() as server:
        judge(config(tmp_path, server.url))
        files = [
            answers(tmp_path, name, [f"{name} says {n}" for n in range(2)], model_id=f"{name}-2")
            for name in ("alpha", "beta")
        ]
        judge(config(tmp_path, server.url, files))
    assert len(server.bodies) == 4
    assert {row["model1"] for row in verdicts(tmp_path, "*-2-vs-*")} == {"alpha-2", "beta-2"}


def test_equal_texts_share_a_verdict_and_that_is_told(tmp_path, capsys):
    files = [answers(tmp_path, m, ["the same"]) for m in ("a", "b", "c")]
    with serving() as server:
        judge(config(tmp_path, server.url, files))
    assert len(server.bodies) == 1
    assert len(verdicts(tmp_path)) == 6
    assert (
        "5 matches have the same texts as another match, and take its verdict."
        in capsys.readouterr().out
    )


def test_unparsed_verdicts_are_kept_counted_and_asked_again_on_request_alone(tmp_path, capsys):
    good = False

    def script(prompt, _):
        return RELATIVE if good or "alpha says 0" in prompt else "I would rather not say."

    with serving(script) as server:
        judge(config(tmp_path, server.url))
        assert "2 verdicts are stored unparsed" in capsys.readouterr().out
        unread = [row for row in verdicts(tmp_path) if not row["parsed"]]
        assert [row["score"] for row in unread] == [[-1, -1]] * 2
        assert unread[0]["text"] == "I would rather not say."
        good = True
        judge(config(tmp_path, server.url))
        assert len(server.bodies) == 4
        judge(config(tmp_path, server.url, retry_unparsed=True))
        assert len(server.bodies) == 6
    assert all(row["parsed"] for row in verdicts(tmp_path))
    assert len(verdicts(tmp_path)) == 4
    assert sum(not row["parsed"] for row in stored(tmp_path)) == 2


def test_a_line_cut_short_by_a_crash_is_told_and_asked_again(tmp_path, capsys):
    with serving() as server:
        judge(config(tmp_path, server.url))
        path = tmp_path / "ratings" / "store" / "verdicts.jsonl"
        path.write_bytes(path.read_bytes()[:-30])
        judge(config(tmp_path, server.url))
    assert len(server.bodies) == 5
    assert len(stored(tmp_path)) == 4
    assert (
        "a crash left the last line incomplete, so the line was removed" in capsys.readouterr().out
    )


def test_a_broken_line_in_the_middle_is_named_not_skipped(tmp_path):
    with serving() as server:
        judge(config(tmp_path, server.url))
        path = tmp_path / "ratings" / "store" / "verdicts.jsonl"
        lines = path.read_text("utf-8").split("\n")
        path.write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]), "utf-8")
        with pytest.raises(
            DataError, match=r"verdicts\.jsonl, line 2: the line is not a readable verdict"
        ):
            judge(config(tmp_path, server.url))
    assert len(server.bodies) == 4


def test_two_processes_do_not_ask_together(tmp_path):
    with (
        serving() as server,
        Store(tmp_path / "ratings"),
        pytest.raises(InUseError, match="is in use by another process"),
    ):
        judge(config(tmp_path, server.url))
    assert server.bodies == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "ratings").write_text("a file")
    with serving() as server, pytest.raises(RunError, match=r"Cannot write to out=.*ratings: "):
        judge(config(tmp_path, server.url))
    assert server.bodies == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tmp_path):
    with Store(tmp_path / "ratings") as store:
        store._file = FileIO("/dev/full", "a")
        with pytest.raises(RunError, match=r"Cannot write to out=.*: No space left on device\."):
            store.add({"key": "k", "parsed": True, "score": 1, "text": "1"})
        assert store.rows == {}


def test_names_that_no_file_can_have(tmp_path):
    files = [answers(tmp_path, m, ["x", m], model_id=f"org/{m}:7b 中文") for m in ("a", "b")]
    with serving() as server:
        judge(config(tmp_path, server.url, files, judge_model="org/judge"))
    assert len(verdicts(tmp_path)) == 4
    assert {row["model1"] for row in verdicts(tmp_path)} == {"org/a:7b 中文", "org/b:7b 中文"}


@pytest.mark.parametrize(
    "change", [{"parsed": "yes"}, {"score": True}, {"score": [1]}, {"text": ["a"]}, {"key": 3}]
)
def test_a_stored_verdict_of_strange_types_is_one_line(tmp_path, change):
    row = {"key": "k", "parsed": True, "score": 1, "text": "a"}
    path = tmp_path / "store" / "verdicts.jsonl"
    path.parent.mkdir()
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row | change)}\n")
    with pytest.raises(
        DataError, match=r"verdicts\.jsonl, line 2: the line is not a readable verdict"
    ):
        Store(tmp_path).__enter__()
    assert list(read_only(tmp_path)) == ["k"]
