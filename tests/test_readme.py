"""README says only what is so: its commands compose, its targets and files exist."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import hydra
import pytest

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.overrides import quote_override
from anima_exp.config import EvaluateConfig, GenerateConfig, MergeConfig
from anima_exp.config.commands import JudgeConfig, PublishConfig
from anima_exp.system.paths import shipped

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    set(re.findall(r"python -m anima_exp\.(train|data|plan|self_check) ([^`\n|]*)", README))
)
assert len(COMMANDS) >= 5, "README has lost its commands: this test would pass by checking nothing"


@pytest.mark.parametrize(("program", "arguments"), COMMANDS, ids=lambda value: value)
def test_every_command_composes(compose, program, arguments):
    words = [w for w in shlex.split(arguments, comments=True) if not w.startswith("-")]
    if any("rnak" in word for word in words):
        return  # the example of a mistake; test_messages.py holds its answer
    words = [w for w in words if "interval(" not in w and not w.startswith("hydra.sweeper")]
    single = [word.split(",")[0] if "=" in word and "[" not in word else word for word in words]
    compose(*[word.replace("...", "x") for word in single])


OTHERS = {
    "evaluate": EvaluateConfig,
    "generate": GenerateConfig,
    "judge": JudgeConfig,
    "merge": MergeConfig,
    "publish": PublishConfig,
}
USES = sorted(
    set(
        re.findall(
            r"python -m anima_exp\.(evaluate|generate|judge|merge|publish) ([^`\n|#]*)", README
        )
    )
)
assert {program for program, _ in USES} == set(OTHERS)


@pytest.mark.parametrize(("program", "arguments"), USES, ids=lambda value: value)
def test_every_command_about_a_finished_model_composes(program, arguments):
    schema = OTHERS[program]
    register_schema(schema)
    try:
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            given = [quote_override(word) for word in shlex.split(arguments)]
            parse(hydra.compose(program, overrides=given))
    finally:
        register_schema()


@pytest.mark.parametrize("program", ["elo", "compare"])
def test_every_option_of_a_comparison_exists(program):
    read = import_module(f"anima_exp.{program}").read
    lines = re.findall(rf"(?:python -m anima_exp\.|anima-exp ){program} ([^`\n|#]*)", README)
    assert lines
    for line in lines:
        read(shlex.split(line))


def test_every_make_target_exists():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert {"demo", "test"} <= named <= targets


def test_every_file_it_points_to_exists():
    named = re.findall(r"`((?:conf|src|sweeps)/[\w./-]+)`", README)
    assert named
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


def test_every_choice_it_names_exists():
    from anima_exp.cli.error_messages import choices

    for group in ("data", "quant", "lora", "optimizer", "evals", "tracking"):
        row = next(line for line in README.splitlines() if line.startswith(f"| `{group}` |"))
        named = set(re.findall(r"`(\w+)`", row.split("|")[2]))
        assert named & set(choices(group)) == set(choices(group)), group
