"""The command as a user has it: answers to a file, a chat through a pipe, mistakes in one line."""

import json
import signal
import subprocess
import sys
import time

import pytest

from anima_exp.config import AnsweringConfig
from anima_exp.experiment.run import run
from anima_exp.inference.answers import write
from anima_exp.inference.questions import load
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog

RUN = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=4", "trainer.batch_size=8",
    "trainer.eval_every=2", "trainer.save_every=3", "tracking=none",
    "evals=[heldout,answers]", "evals.answers.max_questions=10", "evals.answers.max_new_tokens=24",
)  # fmt: skip


def command(*arguments):
    return [sys.executable, "-m", "anima_exp.generate", *arguments]


def json_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def generate(*arguments, said=""):
    return subprocess.run(
        command(*arguments), input=said, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def trained(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    config = compose(*RUN, f"run_dir={folder}")
    run(config)
    return config, folder


def test_a_run_that_is_told_to_leaves_its_answers(trained):
    folder = trained[1]
    rows = json_lines(folder / "answers.jsonl")
    record = Record.load(folder)
    assert [row["question_id"] for row in rows] == list(range(1, 11))
    assert {row["model_id"] for row in rows} == {"run"}, "the name of its folder"
    share = sum(row["text"] == row["reference"] for row in rows) / 10
    assert record.scores["answers_match"] == pytest.approx(share, abs=0.11)
    assert "answers_match" not in record.scores_before
    evaluated = [r for r in JsonLinesLog(folder / "metrics.jsonl").rows() if "heldout_loss" in r]
    assert ["answers_match" in row for row in evaluated] == [False, False, True]


def test_a_run_killed_at_its_end_keeps_the_answers_it_has(trained, tmp_path, compose):
    import shutil

    _, folder = trained
    again = tmp_path / "again" / "run"
    shutil.copytree(folder, again)
    whole = (again / "answers.jsonl").read_bytes()
    (again / "record.json").unlink()
    lines = whole.split(b"\n")
    (again / "answers.jsonl").write_bytes(b"\n".join(lines[:4]) + b"\n" + lines[4][:40])
    run(compose(*RUN, f"run_dir={again}"))
    assert (again / "answers.jsonl").read_bytes() == whole
    assert Record.load(again).scores == Record.load(folder).scores


def test_a_finished_run_gives_the_same_answers_again(trained, tmp_path):
    _, folder = trained
    out = tmp_path / "a.jsonl"
    how = ("questions=tiny_zh", "max_questions=10", "max_new_tokens=24", "batch_size=3")
    ended = generate(f"run={folder}", f"out={out}", *how)
    assert ended.returncode == 0, ended.stderr
    rows, theirs = map(json_lines, (out, folder / "answers.jsonl"))
    assert [row["text"] for row in rows] == [row["text"] for row in theirs]
    assert [row["metadata"] for row in rows] == [row["metadata"] for row in theirs]
    assert {row["model_id"] for row in rows} == {folder.name}


def test_base_and_adapter_chat_through_a_pipe(trained):
    ended = generate(
        f"run={trained[1]}", "include_base=true", "temperature=0", "max_new_tokens=24",
        said="What is 3 plus 4?\n/adapter\n你好 \x1b[2J\n",
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "> What is 3 plus 4?\nbase     7\nadapter  " in ended.stdout
    assert "Now answering: adapter.\n> 你好 \\x1b[2J\n" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_a_killed_command_goes_on_and_ends_like_an_undisturbed_one(tiny, asked, tmp_path):
    how = (
        "questions=tiny_en",
        "max_questions=60",
        "batch_size=1",
        "max_new_tokens=40",
        "quant=none",
    )
    out = tmp_path / "killed.jsonl"
    process = subprocess.Popen(command(*how, f"out={out}"), stdout=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while not out.exists() or out.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < patience
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = out.read_bytes().count(b"\n")
    assert 3 <= there < 60
    ended = generate(*how, f"out={out}")
    assert f"{there} of 60 answers are already in" in ended.stdout
    whole = AnsweringConfig(max_questions=60)
    questions = load("tiny_en", whole, key="questions", cache=tmp_path)
    write(*tiny, questions, asked(max_new_tokens=40), tmp_path / "whole.jsonl")
    rows, theirs = map(json_lines, (out, tmp_path / "whole.jsonl"))
    assert [row["text"] for row in rows] == [row["text"] for row in theirs]
    assert [row["answer_id"] for row in rows] == [row["answer_id"] for row in theirs]
    refused = generate(*how, f"out={out}", "temperature=0")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "temperature=0.0 now, 0.7 in the file. The file was not changed." in refused.stderr


MISTAKES = {
    "temprature=0": "There is no setting 'temprature'. Did you mean 'temperature'?",
    "temperature=-1": "temperature=-1.0 must be at least 0.",
    "top_p=0": "top_p=0.0 must be greater than 0 and at most 1.",
    "batch_size=0": "batch_size=0 must be greater than 0.",
    "stop=[x,'']": "stop contains an empty string, which would end every answer immediately.",
    "include_base=true": "include_base=true needs an adapter: give run=FOLDER or adapter=FOLDER.",
    "out=a.jsonl": "out=a.jsonl is for questions=FILE; a chat writes no file.",
    "prompt=x out=a.jsonl": "out=a.jsonl is for questions=FILE; prompt shows its answer.",
    "prompt=x questions=tiny_en": "prompt and questions=tiny_en are both set: one question, or",
    "prompt=": "prompt is empty. Give it a question: prompt=",
    "prompt= questions=tiny_en": "prompt is empty.",
    "extra_adapters=[a] questions=tiny_en": "extra_adapters is for prompt and the chat.",
    "extra_adapters=[a]": "extra_adapters needs an adapter: give run=FOLDER or adapter=FOLDER.",
    "extra_adapters=a": "extra_adapters=a is not a list: write [a,b].",
    "adapter=/nowhere": "adapter=/nowhere: there is no such folder, and it is not a hub id.",
    "model=tiny adapter=/nowhere": "adapter=/nowhere: there is no such folder, and it is not a hub",
    "adapter=org/none": "adapter=org/none: no such folder, and HF_HUB_OFFLINE is set.",
    "prompt_template=guanco": "prompt_template=guanco: there is no such prompt template.",
    "questions=nowhere.jsonl": "questions=nowhere.jsonl: no such file.",
    "run=nowhere": "run=nowhere is not a run folder: there is no such folder.",
}


@pytest.mark.parametrize(("argument", "line"), MISTAKES.items())
def test_a_mistake_is_one_line_without_loading_a_model(argument, line, tmp_path):
    ended = subprocess.run(
        command(*argument.split(" ")),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        input="",
    )
    assert ended.stderr.startswith(f"anima_exp: {line}"), ended.stderr
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)


def test_a_mistake_in_a_run_is_told_before_training(compose, tmp_path):
    from anima_exp.errors import ConfigError, DataError

    with pytest.raises(ConfigError, match=r"evals\.answers\.top_p=2\.0 must be greater than 0"):
        compose(*RUN, "evals.answers.top_p=2")
    with pytest.raises(DataError, match=r"evals\.answers\.questions=none\.jsonl: no such file"):
        run(compose(*RUN, "evals.answers.questions=none.jsonl", f"run_dir={tmp_path}/a"))
    with pytest.raises(ConfigError, match=r"evals\.answers\.prompt_template=alpca: there is no"):
        run(compose(*RUN, "evals.answers.prompt_template=alpca", f"run_dir={tmp_path}/a"))
    (tmp_path / "long.jsonl").write_text(json.dumps({"question_id": 1, "text": "word " * 2000}))
    with pytest.raises(DataError, match=r"The prompt of question 1 has \d+ tokens"):
        run(
            compose(*RUN, f"evals.answers.questions={tmp_path}/long.jsonl", f"run_dir={tmp_path}/a")
        )
    assert not (tmp_path / "a" / "metrics.jsonl").exists()


def test_what_is_asked_and_how_belongs_to_the_result_but_the_batch_does_not(compose, tmp_path):
    from anima_exp.results import identity

    def name(*overrides):
        return identity.run_name(compose(*RUN, *overrides))

    assert name("evals.answers.batch_size=3") == name()
    assert name("evals.answers.temperature=0") != name()
    (tmp_path / "q.jsonl").write_text("1")
    one = name(f"evals.answers.questions={tmp_path}/q.jsonl")
    (tmp_path / "q.jsonl").write_text("12")
    assert name(f"evals.answers.questions={tmp_path}/q.jsonl") != one


def test_a_sweep_may_be_led_by_answers_that_have_references(compose, tmp_path):
    from anima_exp.errors import ConfigError
    from anima_exp.sweeping.checks import check_metric

    check_metric(compose(*RUN, "sweep.metric=answers_match"))
    (tmp_path / "q.jsonl").write_text('{"question_id": 1, "text": "Q"}\n')
    with pytest.raises(ConfigError, match=r"sweep\.metric=answers_match is not measured"):
        path = f"evals.answers.questions={tmp_path}/q.jsonl"
        check_metric(compose(*RUN, "sweep.metric=answers_match", path))


def test_help_answers_at_once():
    probe = (
        "import runpy, sys\nsys.argv = ['generate', '--help', '--all']\n"
        "try:\n    runpy.run_module('anima_exp.generate', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'rich') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
    assert "questions=FILE_OR_URL" in ended.stdout and "temperature: 0.7" in ended.stdout


def test_the_format_of_the_data_is_the_format_of_the_question_in_every_command():
    from anima_exp.generate import with_template

    given = ["data.prompt_template=alpaca", "prompt=hi"]
    assert with_template(given) == [*given, "prompt_template=alpaca"]
    both = ["data.prompt_template=alpaca", "prompt_template=plain"]
    assert with_template(both) == both
