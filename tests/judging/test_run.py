"""`python -m anima_exp.judge` as a user starts it, stops it, and kills it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.judge_files import answers, stored, two, verdicts
from support.judge_server import KEY, RELATIVE, refusal, serving

QUESTIONS = 10


def arguments(tmp_path, url, *more, files=None):
    files = files or two(tmp_path, QUESTIONS)
    given = ["judge_model=judge-1", f"base_url={url}", f"out={tmp_path}/ratings"]
    return [f"answers=[{','.join(files)}]", *given, "backoff_seconds=0.01", *more]


def start(*words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "anima_exp.judge", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_from_start_to_end_and_the_key_is_nowhere(tmp_path):
    def script(prompt, number):  # a server that gives the key away, in replies and in refusals
        if number == 1 and "alpha says 1" in prompt:
            return (500, {}, refusal(f"bad {KEY}"))
        return f"8 3\nYou sent Bearer {KEY}."

    with serving(script) as server:
        status, out, err = finish(start(*arguments(tmp_path, server.url, "yes=true")))
    assert (status, err) == (0, "")
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert "20/20 calls" in out
    assert len(verdicts(tmp_path)) == 20
    written = [p.read_text("utf-8") for p in tmp_path.rglob("*") if p.is_file()]
    assert len(written) >= 5
    assert not any(KEY in text for text in (*written, out))
    assert "You sent Bearer ***." in written[-1] + "".join(written)


def test_a_refusal_is_one_line_without_the_key(tmp_path):
    for code, told in ((401, "rejected the API key"), (403, "you with ***")):
        with serving(lambda *_, c=code: (c, {}, refusal(f"you with {KEY}"))) as server:
            status, out, err = finish(start(*arguments(tmp_path, server.url, "yes=true")))
        assert (status, err.count("\n")) == (1, 1)
        assert told in err
        assert KEY not in out + err


@pytest.mark.parametrize("hidden", ["api_key_env=", "+api_key=", "base_url=http://user:"])
def test_a_key_put_into_a_setting_is_refused_and_not_repeated(tmp_path, hidden):
    word = f"{hidden}{KEY}" + ("@host/v1" if "http" in hidden else "")
    status, out, err = finish(start(*arguments(tmp_path, "http://127.0.0.1:9/v1"), word))
    assert (status, err.count("\n")) == (1, 1)
    assert KEY not in out + err


def test_killed_in_the_middle_it_goes_on_with_what_is_missing(tmp_path):
    def slow(*_):
        time.sleep(0.1)
        return RELATIVE

    with serving(slow) as server:
        words = arguments(tmp_path, server.url, "yes=true", "concurrency=2")
        process = start(*words)
        path = tmp_path / "ratings" / "store" / "verdicts.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = len(stored(tmp_path))
        assert 5 <= kept < 20
        time.sleep(0.3)  # for the calls that were under way
        before = len(server.bodies)
        status, _, err = finish(start(*words))
    assert (status, err) == (0, "")
    assert len(server.bodies) - before == 20 - kept
    assert len(verdicts(tmp_path)) == len(stored(tmp_path)) == 20


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, "anima_exp: interrupted. Run the same command again to resume.\n"),
        (signal.SIGTERM, 143, "anima_exp: terminated. Run the same command again to resume.\n"),
    ],
)
def test_stopped_it_says_so_in_one_line_and_what_is_there_is_written(
    tmp_path, number, status, line
):
    with serving(lambda p, _: RELATIVE if "alpha says 0" in p else "HANG") as server:
        process = start(*arguments(tmp_path, server.url, "yes=true"))
        path = tmp_path / "ratings" / "store" / "verdicts.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        ended, _, err = finish(process)
    assert (ended, err) == (status, line)
    assert len(verdicts(tmp_path)) == 2


def test_failed_calls_end_with_status_1(tmp_path):
    with serving(lambda p, _: (500, {}, "") if "alpha says 1" in p else RELATIVE) as server:
        words = arguments(tmp_path, server.url, "yes=true", "retries=1")
        status, out, err = finish(start(*words))
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("anima_exp: 2 of 20 calls failed; the last: HTTP 500, 2 tries.")
    assert "2 failed" in out


def test_a_file_with_chinese_letters(tmp_path):
    folder = tmp_path / "回答"
    folder.mkdir()
    files = [answers(folder, m, ["你好"], reference="你好") for m in ("甲", "乙")]
    words = [f"answers=[{','.join(files)}]", "judge=reference", f"out={tmp_path}/ratings"]
    status, _, err = finish(start(*words))
    assert (status, err) == (0, "")
    assert {row["model1"] for row in verdicts(tmp_path)} == {"甲", "乙"}


def test_help_is_for_a_newcomer_and_needs_nothing_heavy():
    code = """
import runpy, sys
sys.argv = ["judge", "--help", "--all"]
try:
    runpy.run_module("anima_exp.judge", run_name="__main__")
except SystemExit:
    pass
print(*[m for m in ("torch", "transformers", "openai", "numpy", "rich") if m in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.endswith("\n\n")
    for word in ("dry_run=true", "judge=reference", "$OPENAI_API_KEY", "requests_per_minute:"):
        assert word in run.stdout


def test_the_work_itself_loads_no_torch(tmp_path):
    with serving() as server:
        words = arguments(tmp_path, server.url, "yes=true", files=two(tmp_path, 1))
        code = f"""
import runpy, sys
sys.argv = ["judge", *{words!r}]
runpy.run_module("anima_exp.judge", run_name="__main__")
print([m for m in ("torch", "transformers") if m in sys.modules])
"""
        run = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("kind=relativ", "kind=relativ is not one of relative, threeclass."),
        ("concurency=2", "There is no setting 'concurency'. Did you mean 'concurrency'?"),
        ("answers=a.jsonl", "answers=a.jsonl is not a list: write [a,b]."),
        ("model=gpt-4", "There is no setting 'model'. Did you mean 'judge_model'?"),
    ],
)
def test_a_mistake_is_one_line(word, line):
    status, out, err = finish(start(word))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert line in err
