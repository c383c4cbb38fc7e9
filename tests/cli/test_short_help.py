"""--help of each command fits a screen, and names what matters most."""

import pytest

from anima_exp.cli.command import schema_of
from anima_exp.cli.commands import COMMANDS
from anima_exp.cli.short_help import asks_for_all, asks_for_help, long_help, short_help
from anima_exp.config.catalogue import catalogue


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [80, 120])
def test_help_fits_a_screen(name, width):
    lines = short_help(COMMANDS[name], width).splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= width
    assert lines[0] == COMMANDS[name].what
    assert sum(line.startswith(f"  anima-exp {name}") for line in lines) >= 3


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.schema])
def test_every_setting_that_help_names_exists(name):
    command = COMMANDS[name]
    known = catalogue(schema_of(command))
    assert [key for key in command.settings if key not in known] == []
    if not command.config:  # those of commands without Hydra are few, so all are shown
        shown = short_help(command, 120)
        keys = [*known] if len(known) <= 12 else command.settings
        assert [key for key in keys if f"  {key} " not in shown] == []


def test_the_long_help_lists_every_setting_with_its_values():
    text = long_help(COMMANDS["elo"], 80)
    for key in catalogue(schema_of(COMMANDS["elo"])):
        assert f"\n  {key}: " in text
    assert "permutations: whole number at least 1" in text


def test_help_of_any_length_is_recognized():
    assert asks_for_help(["-h"]) and asks_for_help(["seed=1", "--help"])
    assert not asks_for_help(["seed=1"])
    assert asks_for_all(["--help", "--all"]) and asks_for_all(["--help-all"])
    assert not asks_for_all(["--all"]) and not asks_for_all(["--help"])
