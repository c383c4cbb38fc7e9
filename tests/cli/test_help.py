"""--help of each command says what it does, how it is called, and what it takes."""

import re
import signal
import sys
from importlib import import_module
from pathlib import Path

import pytest

from anima_exp.cli import compose
from anima_exp.config import (
    EvaluateConfig,
    GenerateConfig,
    InspectDataConfig,
    MergeConfig,
    RunConfig,
)
from anima_exp.config.commands import JudgeConfig, PublishConfig
from anima_exp.system.paths import shipped

COMMANDS = {
    "train": RunConfig,
    "plan": RunConfig,
    "data": InspectDataConfig,
    "self_check": RunConfig,
    "evaluate": EvaluateConfig,
    "generate": GenerateConfig,
    "judge": JudgeConfig,
    "merge": MergeConfig,
    "publish": PublishConfig,
}


@pytest.fixture
def help_of(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def _help_of(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *(options or ("--help", "--all"))])
        with pytest.raises(SystemExit) as ended:
            compose.run_command(lambda _: None, schema=COMMANDS[name], config_name=name)
        assert ended.value.code == 0
        return capsys.readouterr().out

    yield _help_of
    signal.signal(signal.SIGTERM, before)
    compose.register_schema()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_of_the_command_itself(help_of, name):
    text = help_of(name)
    examples = re.findall(r"^ +anima-exp (\w+)", text, re.MULTILINE)
    first, blank, *_ = text.splitlines()
    assert first.endswith((".", ":")) or name == "judge"
    assert blank == ""
    assert set(examples) == {"check" if name == "self_check" else name}
    assert "== " in text


def test_every_command_is_composed_of_the_file_that_has_its_help():
    package = Path(compose.__file__).parents[1]
    for name in COMMANDS:
        text = (package / f"{'inspect_data' if name == 'data' else name}.py").read_text()
        assert name == "train" or f'config_name="{name}"' in text
        assert "help:" in (shipped("conf") / f"{name}.yaml").read_text()


def test_a_plan_starts_no_sweeper_but_its_own():
    with_sweeper = import_module("anima_exp.plan").with_sweeper
    assert with_sweeper(["-m", "seed=1,2"]) == ["-m", "seed=1,2", "hydra/sweeper=plan"]
    with pytest.raises(Exception, match=r"^hydra/sweeper=optuna: plan shows a grid"):
        with_sweeper(["-m", "hydra/sweeper=optuna"])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("options", [["--help"], ["model=tiny", "-h"]], ids=" ".join)
def test_help_without_all_fits_a_screen_and_composes_nothing(monkeypatch, capsys, name, options):
    monkeypatch.setattr(sys, "argv", [name, *options])
    monkeypatch.setattr(compose, "register_schema", None)
    module = {"data": "inspect_data"}.get(name, name)
    import_module(f"anima_exp.{module}").main()
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 45
    assert "--help --all lists everything" in " ".join(text.split())


@pytest.mark.parametrize("option", [["--help-all"], ["--all", "--help"]], ids=" ".join)
def test_all_settings_are_listed_on_request(help_of, option):
    assert "learning_rate:" in help_of("train", *option)
