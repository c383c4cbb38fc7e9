"""Several adapters on one base: each answers as it does alone, in the format it was trained on."""

import json
import shutil

import pytest

from anima_exp.cli.compose import register_schema
from anima_exp.errors import AnimaError, ConfigError, ModelError
from anima_exp.experiment.run import run

pytestmark = pytest.mark.usefixtures("shown")

SETTINGS = (
    "data.max_rows=300", "data.heldout_rows=8", "trainer.batch_size=8", "trainer.eval_every=null",
    "trainer.max_steps=6", "tracking=none", "evals=[heldout]", "optimizer.learning_rate=1e-2",
)  # fmt: skip
RUNS = {
    "one": (),
    "two": ("lora=attention", "lora.rank=4", "seed=3", "data.prompt_template=alpaca"),
    "plain": ("quant=none", "trainer.max_steps=1"),
    "whole": ("quant=none", "lora=full_finetune", "trainer.max_steps=1"),
}


@pytest.fixture(scope="module")
def runs(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, settings in RUNS.items():
        run(compose(*SETTINGS, *settings, f"run_dir={folder / name}"))
    return folder


@pytest.fixture
def say(runs, monkeypatch, capsys):
    """say("run=one", ...) -> the lines of the answers, on stdout; asked in the runs' folder."""
    import hydra

    from anima_exp.cli.compose import parse
    from anima_exp.cli.overrides import quote_override
    from anima_exp.cli.saved_run import expand_run_argument
    from anima_exp.config import GenerateConfig
    from anima_exp.generate import generate
    from anima_exp.system.paths import shipped

    register_schema(GenerateConfig)
    monkeypatch.chdir(runs)

    def _say(*arguments, prompt="60和22合起来是多少？"):
        given = expand_run_argument(
            [quote_override(one) for one in (*arguments, f"prompt={prompt}")]
        )
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            config = parse(hydra.compose("generate", overrides=given))
        capsys.readouterr()
        generate(config)
        return capsys.readouterr().out.splitlines()

    yield _say
    register_schema()


def test_each_answers_as_it_does_alone(say):
    how = ("max_new_tokens=16", "temperature=0.8")
    (one,), (two,), (base,) = (
        say("run=one", *how), say("run=two", *how),
        say("model=tiny", "prompt_template=guanaco", *how),
    )  # fmt: skip
    assert len({one, two, base}) == 3, "answers that do not differ would show nothing"
    found = say("run=one", "extra_adapters=[two]", "include_base=true", *how)
    assert found == [f"base  {base}", f"one   {one}", f"two   {two}"]
    assert say("run=two", "extra_adapters=[one/adapter]", *how) == [f"two  {two}", f"one  {one}"]
    assert say("adapter=one/adapter", "extra_adapters=[two]", *how) == [
        f"one  {one}",
        f"two  {two}",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("run=one extra_adapters=[plain]",
         "one and plain cannot share one base in memory: quant.type is nf4 for the first and none "
         "for the second. Use them one at a time."),
        ("run=one extra_adapters=[whole]",
         "extra_adapters=whole trained every weight, so it has no adapter to"),
        ("run=whole extra_adapters=[one]",
         "extra_adapters needs an adapter, but run=whole trained every weight"),
        ("run=one extra_adapters=[one]",
         "extra_adapters=one names an adapter that is already loaded. Name each adapter once."),
        ("run=one extra_adapters=[two,two/adapter]",
         "extra_adapters=two/adapter names an adapter that is already loaded"),
        ("run=one extra_adapters=[/nowhere]", "extra_adapters=/nowhere: there is no such folder"),
    ],
)  # fmt: skip
def test_what_cannot_stand_side_by_side_is_one_line(say, arguments, line):
    with pytest.raises(AnimaError) as error:
        say(*arguments.split())
    assert str(error.value).startswith(line), error.value
    assert "\n" not in str(error.value)


def test_one_name_for_two_sets_of_weights_is_no_common_base(say, runs):
    moved = runs / "moved"
    shutil.copytree(runs / "two", moved)
    record = json.loads((moved / "record.json").read_text())
    (moved / "record.json").write_text(json.dumps(record | {"base_fingerprint": "hub:other"}))
    with pytest.raises(ConfigError, match="cannot share one base in memory: base_fingerprint is"):
        say("run=one", "extra_adapters=[moved]")
    shutil.rmtree(moved)


def test_a_published_adapter_is_asked_in_the_format_it_was_trained_on(say, runs, capsys):
    from anima_exp.inference import prompt_format

    for name, template in {
        "guanaco-7b": "guanaco_chat", "qlora-alpaca-13b": "alpaca", "qlora-flan-7b": "plain",
        "qlora-hh-rlhf-65b": "hh_rlhf", "qlora-self-instruct-7b": "plain", "Anima33B": "alpaca",
    }.items():  # fmt: skip
        shutil.copytree(runs / "one" / "adapter", runs / "hub" / name)
        capsys.readouterr()
        assert (
            prompt_format.of_extra_adapter(str(runs / "hub" / name), None, given=None) == template
        )
        told = capsys.readouterr().err
        assert told.endswith(f"{name} is prompted in the format {template}. Choose another with "
                             "prompt_template=NAME.\n")  # fmt: skip
    assert say("adapter=hub/qlora-flan-7b") == say("adapter=one/adapter", "prompt_template=plain")
    shutil.copytree(runs / "one" / "adapter", runs / "hub" / "of-mine")
    with pytest.raises(ConfigError, match="does not say which prompt format it was trained with"):
        say("adapter=hub/of-mine")
    assert say("adapter=hub/of-mine", "prompt_template=guanaco") == say("run=one")


def test_a_damaged_adapter_beside_another_is_named(say, runs):
    shutil.copytree(runs / "two", runs / "broken")
    (runs / "broken" / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"^extra_adapters=broken/adapter: its weights cannot be read"
    ):
        say("run=one", "extra_adapters=[broken]")
    shutil.rmtree(runs / "broken")


def test_readmes_lines_of_plain_transformers_and_peft_load_our_adapter(runs, capsys):
    import re
    from pathlib import Path

    from anima_exp.system.paths import tiny_base

    page = Path(__file__).parents[2] / "docs" / "guides" / "generating.md"
    readme = page.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import torch\n.*?)```", readme, re.DOTALL)
    assert "anima_exp" not in code.replace("src/anima_exp/tiny/base", "")
    code, changed = re.subn(
        r"^base, adapter = .*$",
        f"base, adapter = {str(tiny_base())!r}, {str(runs / 'one' / 'adapter')!r}",
        code,
        flags=re.MULTILINE,
    )
    assert changed == 1
    capsys.readouterr()
    exec(code, {})
    question = "从桃子、芒果、柠檬、葡萄、苹果中取出第三个。"
    assert capsys.readouterr().out.startswith(f"### Human: {question}### Assistant: ")
