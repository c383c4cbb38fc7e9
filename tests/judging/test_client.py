"""Whatever the server does, the verdicts are complete in the end and nothing is asked twice."""

import json
import time

import pytest
from support.judge_files import answers, config, stored, verdicts
from support.judge_server import RELATIVE, completion, refusal, serving

from anima_exp.errors import ConfigError, RunError
from anima_exp.judging import client
from anima_exp.judging.run import judge

FAULTS = {
    "429": (429, {"Retry-After": "0"}, refusal("slow down")),
    "500": (500, {}, "<html>oops</html>"),
    "503 without a body": (503, {}, ""),
    "hang": "HANG",
    "no JSON": (200, {}, "{nonsense"),
    "JSON of another kind": (200, {}, "[1, 2]"),
    "a web page": (200, {"Content-Type": "text/html"}, "<html>log in</html>"),
    "no choices": (200, {}, json.dumps({"choices": []})),
    "no message": (200, {}, json.dumps({"choices": [{}]})),
    "cut": "CUT",
}


def test_both_orders_of_every_common_question(tmp_path):
    with serving() as server:
        judge(config(tmp_path, server.url))
    rows = verdicts(tmp_path)
    assert len(rows) == len(server.bodies) == 4
    seen = {(row["question_id"], row["model1"], row["model2"]) for row in rows}
    assert seen == {(n, *pair) for n in (1, 2) for pair in (("alpha", "beta"), ("beta", "alpha"))}
    assert {path.name for path in (tmp_path / "ratings").glob("*.jsonl")} == {
        "alpha-vs-beta-judge-1-relative.jsonl",
        "beta-vs-alpha-judge-1-relative.jsonl",
    }


def test_a_verdict_says_what_it_depends_on(tmp_path):
    with serving() as server:
        judge(config(tmp_path, server.url))
    row = verdicts(tmp_path, "alpha-*")[0]
    assert (row["score"], row["parsed"], row["text"]) == ([8.0, 3.0], True, RELATIVE)
    assert (row["judge"], row["kind"], row["reviewer_id"]) == ("judge-1", "relative", 1)
    assert row["metadata"] == {"temperature": 0.2, "max_tokens": 1024}
    assert (row["tokens_in"], row["tokens_out"]) == (100, 20)
    assert (row["length1"], row["length2"]) == (len("alpha says 0"), len("beta says 0"))
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge-1", 0.2, 1024)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_met_with_another_try(tmp_path, fault):
    def once_bad(_, number):
        return FAULTS[fault] if number == 1 else RELATIVE

    with serving(once_bad) as server:
        judge(config(tmp_path, server.url, timeout_seconds=1.5))
    assert len(verdicts(tmp_path)) == 4
    assert set(server.asked.values()) == {2}


def test_all_faults_at_once_leave_no_gap_and_no_double(tmp_path):
    faults = list(FAULTS.values())

    def script(prompt, number):
        bad = sum(map(ord, prompt)) % 3  # so many faults before a good reply
        return faults[(sum(map(ord, prompt)) + number) % len(faults)] if number <= bad else RELATIVE

    files = [answers(tmp_path, m, [f"{m}{n}" for n in range(6)]) for m in ("a", "b", "c")]
    with serving(script) as server:
        judge(config(tmp_path, server.url, files, timeout_seconds=1.5))
        assert len(verdicts(tmp_path)) == len(stored(tmp_path)) == 36
        assert all(n == 1 + sum(map(ord, p)) % 3 for p, n in server.asked.items())
        before = len(server.bodies)
        judge(config(tmp_path, server.url, files))
        assert len(server.bodies) == before


def test_a_call_that_never_works_is_counted_and_asked_again_later(tmp_path):
    broken = True

    def script(prompt, _):
        return (500, {}, "") if broken and "alpha says 1" in prompt else RELATIVE

    with serving(script) as server:
        with pytest.raises(RunError, match=r"2 of 4 calls failed; the last: HTTP 500, 3 tries\."):
            judge(config(tmp_path, server.url, retries=2))
        assert len(verdicts(tmp_path)) == 2
        assert sorted(server.asked.values()) == [1, 1, 3, 3]
        broken = False
        judge(config(tmp_path, server.url, retries=2))
        assert sorted(server.asked.values()) == [1, 1, 4, 4]
    assert len(verdicts(tmp_path)) == 4


def test_a_dead_server_is_given_up(tmp_path):
    files = [answers(tmp_path, m, [f"{m}{n}" for n in range(20)]) for m in ("a", "b")]
    with serving() as server:
        url = server.url
    with pytest.raises(RunError, match="10 calls failed in a row"):
        judge(config(tmp_path, url, files, retries=0))


def test_the_server_says_how_long_to_wait(tmp_path):
    def script(_, number):
        return (429, {"Retry-After": "0.6"}, refusal("busy")) if number == 1 else RELATIVE

    files = [answers(tmp_path, m, [f"{m} here"]) for m in ("a", "b")]
    with serving(script) as server:
        judge(config(tmp_path, server.url, files, concurrency=1))
    first, again = server.starts[:2]
    assert 0.55 < again - first < 10


def test_a_wait_of_an_hour_is_not_waited_for(tmp_path):
    with (
        serving(lambda *_: (429, {"Retry-After": "3600"}, refusal("tomorrow"))) as server,
        pytest.raises(RunError, match="the server asks for a wait of 3,600 s"),
    ):
        judge(config(tmp_path, server.url))
    assert set(server.asked.values()) == {1}


REFUSALS = [
    (401, refusal("Incorrect API key: sk-te***"), "rejected the API key (HTTP 401). Check OPENAI_"),
    (404, refusal("no such model"), "The server does not know judge_model=judge-1 or the address"),
    (400, refusal("Use 'max_completion_tokens'"), "Add token_limit=max_completion_tokens."),
    (400, refusal("temperature must be 1"), "Add temperature=null for the server's own."),
    (403, refusal("not\nfor you"), "The server rejected the request (HTTP 403): not"),
    (
        429,
        refusal("pay first", "insufficient_quota"),
        "The server rejected the request (HTTP 429): pay first",
    ),
]


@pytest.mark.parametrize(("status", "body", "line"), REFUSALS)
def test_a_refusal_stops_at_once_with_one_line(tmp_path, status, body, line):
    with serving(lambda *_: (status, {}, body)) as server:
        with pytest.raises(ConfigError) as error:
            judge(config(tmp_path, server.url, concurrency=2))
        assert len(server.bodies) <= 2
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_one_pair_too_long_for_the_model_does_not_stop_the_others(tmp_path):
    def script(prompt, _):
        if "alpha says 1" in prompt:
            return (400, {}, refusal("too long", "context_length_exceeded"))
        return RELATIVE

    with (
        serving(script) as server,
        pytest.raises(RunError, match="2 of 4 calls failed; the last: HTTP 400: too long"),
    ):
        judge(config(tmp_path, server.url))
    assert len(verdicts(tmp_path)) == 2
    assert set(server.asked.values()) == {1}


def test_calls_are_made_at_once(tmp_path):
    def slow(*_):
        time.sleep(0.15)
        return RELATIVE

    files = [answers(tmp_path, m, [f"{m}{n}" for n in range(10)]) for m in ("a", "b")]
    with serving(slow) as server:
        judge(config(tmp_path, server.url, files, concurrency=5))
    assert server.most_in_flight == 5


def test_requests_keep_the_pace(tmp_path):
    with serving() as server:
        judge(config(tmp_path, server.url, requests_per_minute=200, concurrency=4))
    gaps = [b - a for a, b in zip(server.starts, server.starts[1:], strict=False)]
    assert len(gaps) == 3
    assert server.starts[-1] - server.starts[0] > 0.75  # 3 gaps of 0.3 s; the first may be late


def test_a_reply_cut_at_max_tokens_is_told(tmp_path, capsys):
    with serving(lambda *_: (200, {}, completion("9 9 be", finish_reason="length"))) as server:
        judge(config(tmp_path, server.url))
    out = capsys.readouterr().out
    assert "4 replies were truncated. Raise max_tokens" in out
    assert "4 verdicts are stored unparsed. Give retry_unparsed=true to request them again." in out


def test_a_reply_without_content_is_an_unparsed_verdict_not_a_fault(tmp_path):
    with serving(lambda *_: (200, {}, completion(None))) as server:
        judge(config(tmp_path, server.url))
    assert {row["text"] for row in verdicts(tmp_path)} == {""}
    assert set(server.asked.values()) == {1}


def test_temperature_null_and_the_other_name_of_the_limit_are_sent_so(tmp_path):
    from anima_exp.config.commands import TokenLimit

    settings = {"temperature": None, "token_limit": TokenLimit.max_completion_tokens}
    with serving() as server:
        judge(config(tmp_path, server.url, **settings))
    assert server.bodies[0].keys() == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize("status", [200, 500])
def test_a_reply_without_an_end_is_not_read_to_its_end(tmp_path, monkeypatch, status):
    monkeypatch.setattr(client, "_MOST_BYTES", 2**20)
    endless = completion("x" * 2 * 2**20)

    def script(prompt, _):
        return (status, {}, endless) if "alpha says 1" in prompt else RELATIVE

    with serving(script) as server:
        with pytest.raises(RunError) as error:
            judge(config(tmp_path, server.url, retries=2))
        assert "2 of 4 calls failed; the last: a reply of more than 1 MiB." in str(error.value)
        assert set(server.asked.values()) == {1}  # another try would give no other
    assert len(verdicts(tmp_path)) == 2
