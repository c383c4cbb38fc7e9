"""Rewrite the arguments of a user so that Hydra's argparse and grammar can read them.

Hydra takes all settings in one block, and accepts only ASCII letters and a few other characters in
a value. Users write options and settings in any order, and file names with any characters.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from anima_exp.cli import yaml_files
from anima_exp.cli.error_messages import takes_one_file, unknown_setting
from anima_exp.config.program_settings import former_names, settings
from anima_exp.errors import ConfigError
from anima_exp.system.invocation import command_line

_OVERRIDE = re.compile(r"^(?P<key>[+~]{0,2}[\w./@-]+)=(?P<value>.*)$", re.DOTALL)
_TO_THE_LETTER = {"prompt", "system"}  # settings whose value is used literally
# Lists that may be given as one text: lora.modules=q_proj
_LISTS = {f"lora.{name}" for name in ("modules", "rank_pattern", "alpha_pattern", "save_modules")}
_FUNCTION = re.compile(
    r"^(choice|range|interval|glob|sort|shuffle|tag|int|float|str|bool)\(.*\)$", re.DOTALL
)
_BARE_NAME = re.compile(r"^\s*[\w-]*\s*$", re.ASCII)

# Hydra's options: those that take no value, and those that take one.
_FLAGS = (
    *("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun"),
    *("--shell-completion", "-h", "-r", "-m", "-sc"),
)
_WITH_VALUE = (
    *("--cfg", "--package", "--config-path", "--config-name", "--config-dir"),
    *("--experimental-rerun", "-c", "-p", "-cp", "-cn", "-cd"),
)
_INFO = ("--info", "-i")
_SHOWN = ("job", "hydra", "all")
_ABOUT = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def split_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide arguments into options, each with its value, and settings, in their order.

    Raises:
        ConfigError: if an option is unknown or lacks its value.
    """
    options: list[str] = []
    own: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            own.append(argument)
            continue
        name, equals, _ = argument.partition("=")
        option = _option(name)
        if option in _INFO:  # its value may be left out
            about = rest.pop(0) if not equals and rest and rest[0] in _ABOUT else "all"
            options.append(argument if equals else f"--info={about}")
            continue
        options.append(argument)
        if option in _WITH_VALUE and not equals:
            if not rest:
                raise ConfigError(f"{argument} needs a value: see --hydra-help.")
            options.append(rest.pop(0))
        if option in ("--cfg", "-c") and options[-1].rpartition("=")[2] not in _SHOWN:
            raise ConfigError(f"{option} {options[-1]}: choose one of {', '.join(_SHOWN)}.")
    return options, own


def _option(name: str) -> str:
    """Return the full name of an option of Hydra, which may be shortened.

    Raises:
        ConfigError: if there is no such option, or several.
    """
    known = (*_FLAGS, *_WITH_VALUE, *_INFO)
    if name in known:
        return name
    meant = [one for one in known if name.startswith("--") and one.startswith(name)]
    if len(meant) == 1 and len(name) > 2:
        return meant[0]
    if len(meant) > 1 and len(name) > 2:
        raise ConfigError(f"{name} is short for {' or '.join(meant)}. Write the option in full.")
    setting = name.lstrip("-").replace("-", "_")
    if setting in settings():
        hint = f"Write the setting without dashes: {setting}=VALUE."
        raise ConfigError(f"There is no option {name}. {hint}")
    hint = unknown_setting(setting).partition(". ")[2]
    raise ConfigError(f"There is no option {name}. Settings are written as key=value. {hint}")


def composable(arguments: Sequence[str]) -> list[str]:
    """Return the command line for Hydra: options first, and every setting in its grammar.

    Raises:
        ConfigError: if an argument is not a setting, or a group that takes one file gets a list.
    """
    options, own = split_options(arguments)
    own = former_names().overrides(own)
    several = any(one == "-m" or (one > "--m" and "--multirun".startswith(one)) for one in options)
    for argument in own:
        _refuse(argument)
    return [*options, *(quote_override(argument, several=several) for argument in own)]


def _refuse(argument: str) -> None:
    key, equals, value = argument.partition("=")
    if not equals and not key.startswith("~"):
        raise ConfigError(f"'{argument}' is neither an option nor a setting. Write key=value.")
    if not key.lstrip("+~").isascii():
        raise ConfigError(unknown_setting(key.lstrip("+~")))
    if value.startswith("[") and value.endswith("]"):
        items = [item.strip() for item in _split(value[1:-1])]
        _refuse_list(key.lstrip("+"), items)


def _refuse_list(group: str, names: Sequence[str]) -> None:
    """Raise ConfigError if a group that takes one file is given a list.

    Hydra would merge the files: the rows of one data set with the limits and the held-out split of
    another.
    """
    if group == "tracking":
        refuse_none_with_others(f"{group}=[{','.join(names)}]", names)
    if not names[0] or not takes_one_file(group):
        return
    given = f"{group}=[{','.join(names)}]: {group} takes one name, not a list."
    if len(names) == 1:
        raise ConfigError(f"{given} Write {group}={names[0]}.")
    if group == "sweep":
        raise ConfigError(f"{given} Give each sweep a command of its own.")
    raise ConfigError(f"{given} -m {group}={','.join(names)} starts one run for each.{_mix(group)}")


def _mix(group: str) -> str:
    """Return how to train on several data sets, which data=[a,b] means in other programs."""
    way = " To train on several sets in one run, use data=mixture with data.parts.NAME.path=FILE."
    return way if group == "data" else ""


def refuse_none_with_others(given: str, names: Sequence[str]) -> None:
    """Raise ConfigError for `tracking=[none,wandb]`. `given` is the text of the user."""
    if "none" in names and len(names) > 1:
        why = "none means no tracker, so it excludes the others."
        raise ConfigError(f"{given}: {why} Remove none, or write tracking=none.")


def refuse_lists(chosen: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise ConfigError if a defaults list in a file of the user chooses several files of a group.

    Args:
        chosen: hydra.runtime.choices, which lacks groups with several choices.
        overrides: hydra.overrides.task, in which `~tracking` removes a group.
    """
    for file, names in yaml_files.lists("tracking"):
        refuse_none_with_others(f"In {file}: tracking: [{', '.join(names)}]", names)
    for group in ("model", "data", "quant", "lora", "optimizer", "trainer"):
        if takes_one_file(group) and group not in chosen and f"~{group}" not in overrides:
            raise ConfigError(
                f"{group}: a defaults list gives several names, but {group} takes one.{_mix(group)}"
            )


def quote_override(argument: str, *, several: bool = True) -> str:
    """Quote a value that Hydra cannot read: `data.path=a#1.json` gives `data.path="a#1.json"`.

    A text may hold any characters, and stays a text if it looks like a number (the commit 12e4567).
    Quoted values, lists, sweeps, functions and `${...}` are not changed.

    Args:
        several: `a,b` means two values, as in a sweep (-m); otherwise one text with a comma.
    """
    match = _OVERRIDE.match(argument)
    if not match or "@" in match["key"] or match["key"].lstrip("+").startswith(("hydra", "~")):
        return argument
    key, value = match["key"].lstrip("+"), match["value"]
    if key in _TO_THE_LETTER:
        return argument if value == "null" else f"{match['key']}={to_override(value)}"
    kind = _kinds().get(key)
    if kind is list and value.startswith("[") and value.endswith("]"):
        read = _read(value)
        if read is _SEVERAL or (read is not _UNREADABLE and all(isinstance(x, str) for x in read)):
            return argument
        return f"{match['key']}=[{','.join(map(_text, _split(value[1:-1])))}]"
    if key in _LISTS and not re.match(r"null$|[\[$]", value) and not _FUNCTION.match(value):
        texts = _split(value) if several else [value]
        return f"{match['key']}={','.join(f'[{_text(one)}]' for one in texts)}"
    if kind is str:
        return f"{match['key']}={_texts(value) if several else _text(value, alone=True)}"
    if _read(value) is not _UNREADABLE or value[:1] in ("[", "{", '"', "'"):
        return argument
    return f"{match['key']}={_quoted(value)}"  # so that Hydra's error is about the setting


def to_override(value: object) -> str:
    """Write a JSON value in Hydra's grammar, in which a backslash escapes only quotes."""
    if isinstance(value, list):
        return f"[{','.join(map(to_override, value))}]"
    if isinstance(value, str):
        return _quoted(value).replace("${", "\\${")
    return json.dumps(value)


def quoted_command(program: str, *words: str | tuple[str, object]) -> str:
    """Return a command for a shell: ("merge", ("run", "my run")) -> anima-exp merge 'run=my run'.

    Args:
        words: a text is a word as a user types it; a pair is a setting and its literal value.
    """
    typed = (word if isinstance(word, str) else assignment(word[0], str(word[1])) for word in words)
    return command_line(program, typed)


def assignment(key: str, value: object) -> str:
    """Return `key=value` in the shortest form that Hydra reads, for any text."""
    value = str(value) if isinstance(value, Path) else value
    if not isinstance(value, str):
        return f"{key}={to_override(value)}"
    plain = f"{key}={value}"
    same = _read(quote_override(plain, several=False).partition("=")[2]) == value
    return plain if same else f"{key}={to_override(value)}"


def plain_value(value: str) -> str | None:
    """Return the value of a setting as text, without its quotes; None for null."""
    read = _read(value)
    return None if read is None else read if isinstance(read, str) else value


def _texts(value: str) -> str:
    if _FUNCTION.match(value) or isinstance(_read(value), list | dict):
        return value
    return ",".join(map(_text, _split(value)))


def _text(value: str, *, alone: bool = False) -> str:
    """Return one text in Hydra's grammar; if `alone` it is the full value, perhaps with commas."""
    read = _read(value)
    if value == "" or read is None or _FUNCTION.match(value):
        return value
    if isinstance(read, str) and (
        read == value or "\\" in value or "${" in value or value.strip()[:1] in ("'", '"')
    ):
        return value
    if alone and isinstance(read, list | dict):
        return value
    if alone and read is _SEVERAL and all(map(_BARE_NAME.match, value.split(","))):
        return value  # names, for example of groups: Hydra's error says how to sweep over them
    return _quoted(value if alone else value.strip())


_UNREADABLE, _SEVERAL = object(), object()


def _read(value: str) -> Any:
    """Return the value that Hydra reads; _UNREADABLE, or _SEVERAL for a sweep."""
    from hydra.errors import HydraException

    from anima_exp.libraries.hydra_internals import Sweep, plain_parser

    try:
        read = plain_parser().parse_override(f"key={value}").value()
    except (HydraException, ValueError, AssertionError):  # all that the parser raises
        return _UNREADABLE
    return _SEVERAL if isinstance(read, Sweep) else read


def _split(items: str) -> list[str]:
    """Split at commas outside quotes. A quote in the middle of a word is an ordinary character."""
    result, start, quote = [], 0, ""
    for here, letter in enumerate(items):
        if quote:
            quote = "" if letter == quote and items[here - 1] != "\\" else quote
        elif letter in "\"'" and not items[start:here].strip() and letter in items[here + 1 :]:
            quote = letter
        elif letter == ",":
            result.append(items[start:here])
            start = here + 1
    return [*result, items[start:]]


def _quoted(value: str) -> str:
    # A backslash is literal, except before a quote, where all backslashes are doubled.
    return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value) + '"'


def _kinds() -> dict[str, type]:
    """Return the settings whose value is a text (str) or a list of texts (list)."""
    result: dict[str, type] = {}
    for key, hint in settings().items():
        hints = (hint, *get_args(hint))
        if any(get_origin(one) is list and str in get_args(one) for one in hints):
            result[key] = list
        elif str in hints:
            result[key] = str
    return result
