"""anima-exp help KEY explains every setting, group, choice, metric and command."""

import re
import sys

import pytest

from anima_exp.cli import conf_files, help_command
from anima_exp.cli.commands import COMMANDS
from anima_exp.cli.explain import explain, schemas
from anima_exp.config.catalogue import catalogue
from anima_exp.errors import ConfigError
from anima_exp.metrics.catalogue import known


def test_a_setting_is_explained_with_values_default_and_origin():
    text = explain("trainer.batch_size", 100)
    assert text.splitlines()[:2] == [
        "trainer.batch_size",
        "Examples per optimizer step, summed over all GPUs and micro-batches.",
    ]
    assert "values     whole number greater than 0, examples" in text
    assert "default    the value of model.recommended.batch_size; 16 with the default" in text
    assert "conf/trainer/default.yaml" in text
    assert "in run id  yes" in text
    assert "commands   train, plan, data, check, evaluate, generate, merge" in text


def test_a_setting_that_results_do_not_depend_on_says_so():
    assert "in run id  no, results do not depend on it" in explain("tracking.mode")


def test_every_setting_of_every_command_is_explained():
    count = 0
    for schema in schemas():
        for key, entry in catalogue(schema).items():
            if "." in key or key not in {*COMMANDS, *conf_files.groups(), "check"}:
                text = explain(key, 80)
                assert " ".join(entry.setting.about.split()) in " ".join(text.split())
                assert max(map(len, text.splitlines())) <= 100, key
                count += 1
    assert count > 200


def test_a_group_lists_its_choices_with_one_line_each():
    text = explain("model", 100)
    assert re.search(r"^  guanaco33b +Guanaco 33B, merged by its authors", text, re.MULTILINE)
    assert "The default is model=tiny." in text
    assert max(map(len, text.splitlines())) <= 100
    for group in conf_files.groups():
        lines = explain(group, 80)
        assert all(f"  {name}" in lines for name in conf_files.choices(group)), group


def test_a_choice_shows_what_it_sets():
    text = explain("lora=ffn")
    assert "  target_modules: ffn" in text
    assert "This is conf/lora/ffn.yaml." in text
    assert "anima-exp train -m sweep=demo" in explain("sweep=demo")


def test_every_metric_is_explained():
    for name, entry in known().items():
        assert entry.what.split()[0] in explain(name), name
    text = explain("heldout_loss")
    assert "nats per token, smaller is better" in text
    assert "evals.heldout.max_rows" in text
    assert "larger is better" in explain("mmlu")


def test_a_command_is_explained_by_its_help():
    assert explain("compare").startswith(COMMANDS["compare"].what)
    assert explain("self_check").startswith(COMMANDS["check"].what)
    assert explain("data").startswith(COMMANDS["data"].what)
    assert "\n\ndata=NAME\n" in explain("data")  # a command and a group


def test_the_end_of_a_key_is_enough_if_only_one_setting_has_it():
    assert explain("rank").startswith("lora.rank\n")
    with pytest.raises(ConfigError, match=r"^shots may be evals\.\w+\.shots, .*Give one of them"):
        explain("shots")


def test_a_key_of_one_command_names_the_keys_that_end_alike():
    assert "see also   model.recommended.batch_size, trainer.batch_size," in explain("batch_size")


def test_a_former_name_leads_to_the_present_one():
    assert explain("orders").startswith("orders is called permutations now.\n\npermutations\n")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lora.rnak", "Nothing is called 'lora.rnak'. Did you mean 'lora.rank'?"),
        ("heldout_los", "Nothing is called 'heldout_los'. Did you mean 'heldout_loss'?"),
        ("lr", "Nothing is called 'lr'. The learning rate is optimizer.learning_rate."),
        ("mistral_7b", "Nothing is called 'mistral_7b'. Did you mean 'model=mistral_7b'?"),
        ("model=guanaco33", "model=guanaco33: no such choice. Did you mean model=guanaco33b?"),
        ("xyzzy", "Nothing is called 'xyzzy'. `anima-exp help model` lists a group"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_what_was_meant(name, told):
    with pytest.raises(ConfigError) as raised:
        explain(name)
    assert str(raised.value).startswith(told)


def test_the_command_explains_several_names_and_ends_with_a_status(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["anima-exp", "lora.rank", "lora.alpha"])
    assert help_command.main() == 0
    assert "\n\nlora.alpha\n" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["anima-exp", "xyzzy"])
    assert help_command.main() == 1
    assert capsys.readouterr().err.startswith("anima_exp: Nothing is called 'xyzzy'.")
    monkeypatch.setattr(sys, "argv", ["anima-exp"])
    assert help_command.main() == 0
    assert "anima-exp train model=guanaco33b" in capsys.readouterr().out
