import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from anima_exp.cli.overrides import (
    composable,
    plain_value,
    quote_override,
    quoted_command,
    split_options,
)
from anima_exp.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("data.path=数据.jsonl", 'data.path="数据.jsonl"'),
        ("runs_dir=/home/müller/runs", 'runs_dir="/home/müller/runs"'),
        ("model.source=~/models/a", 'model.source="~/models/a"'),
        ("evals.samples.prompts=[你好,hello]", 'evals.samples.prompts=["你好",hello]'),
        ("data.path=甲.jsonl,乙.jsonl", 'data.path="甲.jsonl","乙.jsonl"'),
        ("+tracking.project=我的", '+tracking.project="我的"'),
    ],
)
def test_what_hydra_cannot_read_is_quoted(written, read):
    assert quote_override(written) == read


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
    assert quote_override(written) == written


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
    assert parser.parse_override(quote_override(f"prompt={text}")).value() == text.replace(
        "${", "\\${"
    )


def test_a_prompt_of_null_is_none():
    assert quote_override("prompt=null") == "prompt=null"


def test_a_chinese_file_name_composes(compose):
    config = compose("data=local", quote_override("data.path=数据.jsonl"), "trainer.num_epochs=1")
    assert config.data.path == "数据.jsonl"


ODD = [
    "it's.json", "a#1.json", "a&b.json", "wow!.json", "a;b.json", "a^b.json", "`a`.json",
    "<a>.json", "~x/a.json", "a=b.json", "a(1).json", "a,b.json", "[a].json", "[a", "{a}.json",
    "a b.json", " a ", "it's数据,乙.json", 'say "hi".json', "12e4567", "1e3", "007", "true", "123",
    "glob (x).json", "100%", "a$b", "-", "'", "a:b", "数据",
]  # fmt: skip


def value(argument):
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize("text", ODD)
def test_a_setting_that_is_a_text_takes_any_letters(text):
    assert value(quote_override(f"data.path={text}", several=False)) == text


@pytest.mark.parametrize("text", [one for one in ODD if "," not in one])
def test_so_does_each_value_of_a_sweep_and_each_item_of_a_list(text):
    swept = value(quote_override(f"data.path={text},b.json"))
    assert [str(getattr(one, "text", one)) for one in swept.list] == [text.strip(), "b.json"]
    assert value(quote_override(f"tracking.tags=[{text},b]")) == [text.strip(), "b"]


@pytest.mark.parametrize(
    "argument",
    [
        "data.path=null",
        "data.path=${oc.env:DATA}/a.json",
        "data.path='a#1.json'",
        'data.path="a,b.json"',
        "data.path=a\\,b.json",
        "data.path=[a,b]",  # a mistake, of which the message is about a list
        "tracking.tags=[]",
        "tracking.tags=['a,b',c]",
        "tracking.tags=[a],[b]",
        "tracking.group=choice(a,b)",
        "model.source=a,b",  # as names of a group: "gives several values, which needs a sweep"
        "lora.rank=[1",
        "hydra.sweeper.params={a: 1}",
        "lora@x=a",
    ],
)
@pytest.mark.parametrize("several", [True, False])
def test_what_is_written_in_the_grammar_stays(argument, several):
    assert quote_override(argument, several=several) == argument


def test_a_number_of_odd_signs_is_quoted_so_that_the_answer_is_about_the_setting():
    assert quote_override("lora.rank=8#") == 'lora.rank="8#"'


def test_two_files_are_two_values_only_in_a_sweep():
    assert value(quote_override("data.path=a.json,b.json", several=False)) == "a.json,b.json"
    assert len(value(quote_override("data.path=a.json,b.json")).list) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-dir", "x=y", "-m", "seed=1,2", "lora.rank=8"],
        ["seed=1,2", "-m", "lora.rank=8", "--config-dir", "x=y"],
        ["seed=1,2", "--config-dir", "x=y", "lora.rank=8", "-m"],
        ["-m", "seed=1,2", "--config-dir", "x=y", "lora.rank=8"],
    ],
)
def test_options_and_settings_stand_in_any_order(arguments):
    options, settings = split_options(arguments)
    assert settings == ["seed=1,2", "lora.rank=8"]
    assert sorted(options) == ["--config-dir", "-m", "x=y"]
    assert options[options.index("--config-dir") + 1] == "x=y"


def test_info_takes_a_setting_for_none_of_its_words():
    assert split_options(["--info", "seed=1"]) == (["--info=all"], ["seed=1"])
    assert split_options(["--info", "searchpath", "seed=1"]) == (["--info=searchpath"], ["seed=1"])
    assert split_options(["--multi", "seed=1"]) == (["--multi"], ["seed=1"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train"], "'train' is neither an option nor a setting. Write key=value."),
        (["--config-dir"], "--config-dir needs a value: see --hydra-help."),
        (["--cfg", "x"], "--cfg x: choose one of job, hydra, all."),
        (
            ["--seed", "1"],
            "There is no option --seed. Write the setting without dashes: seed=VALUE.",
        ),
        (
            ["--learning-rate", "1"],
            "There is no option --learning-rate. Settings are written as key=value. "
            "Did you mean 'optimizer.learning_rate'?",
        ),
        (
            ["data=[sample,alpaca]"],
            "data=[sample,alpaca]: data takes one name, not a list. -m data=sample,alpaca starts "
            "one run for each. To train on several sets in one run, use data=mixture with "
            "data.parts.NAME.path=FILE.",
        ),
        (
            ["-m", "lora=[attention, ffn]"],
            "lora=[attention,ffn]: lora takes one name, not a list. -m lora=attention,ffn starts "
            "one run for each.",
        ),
        (["model=[tiny]"], "model=[tiny]: model takes one name, not a list. Write model=tiny."),
        (
            ["tracking=[none, wandb]"],
            "tracking=[none,wandb]: none means no tracker, so it excludes the others. Remove "
            "none, or write tracking=none.",
        ),
        (["lora.ränk=3"], "There is no setting 'lora.ränk'. Did you mean 'lora.rank'?"),
    ],
)
def test_a_mistake_in_the_words_is_one_line(arguments, line):
    with pytest.raises(ConfigError) as error:
        composable(arguments)
    assert str(error.value) == line


@pytest.mark.parametrize(
    "one", ["evals=[heldout,mmlu]", "tracking=[wandb,tensorboard]", "tracking=[none]"]
)
def test_several_evals_or_trackers_are_a_list(one):
    assert composable([one]) == [one]


@pytest.mark.parametrize("text", [one for one in ODD if one.strip() == one])
def test_a_command_to_paste_gives_the_value_back(text):
    words = shlex.split(quoted_command("generate", "model=local", ("model.source", text)))
    assert words[:4] == ["python", "-m", "anima_exp.generate", "model=local"]
    assert value(quote_override(words[4], several=False)) == text


def test_a_command_to_paste_is_quoted_only_where_it_must():
    line = quoted_command("publish", ("folder", "out/merged-1"), "push=user/name")
    assert line == "python -m anima_exp.publish folder=out/merged-1 push=user/name"
    assert quoted_command("publish", ("folder", "my merged")) == (
        "python -m anima_exp.publish 'folder=my merged'"
    )


def test_the_text_of_a_value_is_without_its_quotes():
    assert plain_value(quote_override("run=it's/a").partition("=")[2]) == "it's/a"
    assert plain_value("null") is None
