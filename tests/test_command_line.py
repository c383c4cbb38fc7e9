import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from anima_exp.command_line import readable


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("data.path=数据.jsonl", 'data.path="数据.jsonl"'),
        ("runs=/home/müller/runs", 'runs="/home/müller/runs"'),
        ("model.source=~/models/a", 'model.source="~/models/a"'),
        ("evals.samples.prompts=[你好,hello]", 'evals.samples.prompts=["你好",hello]'),
        ("data.path=甲.jsonl,乙.jsonl", 'data.path="甲.jsonl","乙.jsonl"'),
        ("+tracking.project=我的", '+tracking.project="我的"'),
    ],
)
def test_what_hydra_cannot_read_is_quoted(written, read):
    assert readable(written) == read


@pytest.mark.parametrize(
    "written",
    [
        "lora.rank=8,16",
        "seed=range(3)",
        "data.path='数据 1.jsonl'",
        "lora.dropout=${model.recommended.lora_dropout}",
        "--config-dir",
        "evals=[heldout]",
        "~lora",
    ],
)
def test_all_else_is_left_alone(written):
    assert readable(written) == written


@pytest.mark.parametrize(
    "text",
    [
        "What is 3+4?",
        "a, b = [c]",
        'say "hi"',
        "it's",
        "你好，“世界”",
        "${x} $y",
        "\\",
        "a\nb",
        "~",
        "",
    ],
)
def test_a_prompt_is_taken_to_the_letter(text):
    parser = OverridesParser.create()
    assert parser.parse_override(readable(f"prompt={text}")).value() == text.replace("${", "\\${")


def test_a_prompt_of_null_is_none():
    assert readable("prompt=null") == "prompt=null"


def test_a_chinese_file_name_composes(compose):
    config = compose("data=local", readable("data.path=数据.jsonl"), "trainer.epochs=1")
    assert config.data.path == "数据.jsonl"
