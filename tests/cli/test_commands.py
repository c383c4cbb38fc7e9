"""Every example that help shows is a command line that works."""

import shlex

import hydra
import pytest

from anima_exp.cli.command import schema_of
from anima_exp.cli.commands import COMMANDS
from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.explain import explain
from anima_exp.cli.flat_settings import parse as parse_flat
from anima_exp.cli.overrides import quote_override
from anima_exp.system.paths import shipped

EXAMPLES = [
    (name, words)
    for name, command in COMMANDS.items()
    for words in dict.fromkeys([command.example, *(one for one, _ in command.examples)])
]


@pytest.mark.parametrize(("name", "words"), EXAMPLES)
def test_every_example_is_understood(name, words):
    command = COMMANDS[name]
    typed = [word for word in shlex.split(words) if not word.startswith("-")]
    if name == "help":
        assert all(map(explain, typed))
    elif name == "completion":
        assert typed[0] in ("bash", "zsh", "fish")
    elif command.config:
        schema = schema_of(command)
        register_schema(schema)
        single = [word if "[" in word else word.split(",")[0] for word in typed]
        try:
            with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
                parse(hydra.compose(command.config, overrides=[*map(quote_override, single)]))
        finally:
            register_schema()
    else:
        parse_flat(typed, schema_of(command), words=command.words)


def test_each_command_has_one_sentence_and_an_example():
    for name, command in COMMANDS.items():
        assert command.what.endswith(".") and command.what.count(". ") == 0
        assert command.examples or name == "doctor"
        assert command.name == name
