import pytest

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


def test_a_chinese_file_name_composes(compose):
    config = compose("data=local", readable("data.path=数据.jsonl"), "trainer.epochs=1")
    assert config.data.path == "数据.jsonl"
