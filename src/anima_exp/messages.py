"""Hydra's and OmegaConf's errors -> one line: the setting, its value, and the way out."""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from anima_exp import other_names, sweep_files, yaml_files
from anima_exp.errors import AnimaError, RunEnded, first_line
from anima_exp.lookup import closest
from anima_exp.paths import shipped
from anima_exp.program_settings import schema, settings


def explain(error: BaseException) -> str:
    """One line for a mistake in a command line or a YAML file.

    An error of our own is already one line; one that we do not know keeps its first line.
    """
    if isinstance(error, AnimaError | RunEnded):
        return str(error)
    text = _whole_text(error)
    for pattern, answer in _ANSWERS:
        if found := re.search(pattern, text, re.DOTALL):
            return answer(text, found)
    return first_line(error)


def known_mistake(error: Exception) -> bool:
    """Whether an error that is not Hydra's own class is its answer to a bad override."""
    patterns = (_GROUP_AS_NUMBER, _INSIDE_NULL, _NO_LIST, _NO_SUCH_PAIR)
    return any(re.search(pattern, str(error)) for pattern in patterns)


def unknown_setting(key: str) -> str:
    """`lora.rnak` -> "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?" """
    instead = None if key.startswith("evals.") else other_names.answer(key, settings())
    return f"There is no setting '{key}'. {instead or _suggest_setting(key)}"


def takes_one_file(group: str) -> bool:
    """Whether a group of the schema is one file of conf/, not several as evals=[heldout,mmlu]."""
    several = group in ("evals", "tracking")
    return is_dataclass(settings().get(group)) and not several and bool(choices(group))


def choices(group: str) -> list[str]:
    """The files one can choose in a group: `model` -> [guanaco33b, llama7b, ...]."""
    if group == "sweep":
        return sweep_files.names()
    folder = shipped("conf") / group
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def _whole_text(error: BaseException) -> str:
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:
        parts.append(f"{seen}")
        if key := getattr(seen, "full_key", None):
            parts.append(f"full_key: {key}")
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


_DEFAULTS = ("model.recommended.", "model.shape.", "data.typical.")  # other groups take these


def _suggest_setting(key: str) -> str:
    known = [k for k in settings() if not k.startswith(_DEFAULTS) or key.startswith(_DEFAULTS)]
    if key.startswith("hydra.sweeper."):
        return "A sweep has params, rows and factors; hydra/sweeper=optuna has n_trials as well."
    if key.startswith("hydra."):
        return "It would be one of Hydra's own: see --hydra-help."
    group, _, name = key.rpartition(".")
    # First among the settings of the same group, by the last part of the key; then anywhere.
    siblings = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == group}
    if close := closest(name, siblings):
        return f"Did you mean '{siblings[close]}'?"
    longer = [k for part, k in siblings.items() if name in part.split("_")]  # model, judge_model
    if len(longer) == 1:
        return f"Did you mean '{longer[0]}'?"
    groups = {k.rpartition(".")[0] for k in known}
    if (other := closest(group, groups)) and f"{other}.{name}" in known:
        return f"Did you mean '{other}.{name}'?"
    elsewhere = [k for k in known if k.rpartition(".")[2] == name]
    if len(elsewhere) == 1:
        return f"Did you mean '{elsewhere[0]}'?"
    if elsewhere:
        return f"Did you mean one of {', '.join(elsewhere)}?"
    everywhere = {k.rpartition(".")[2]: k for k in known}
    if not siblings and (close := closest(name, everywhere)):
        return f"Did you mean '{everywhere[close]}'?"
    if siblings and group:
        return f"Known here: {', '.join(sorted(siblings))}."
    return f"Known: {', '.join(f.name for f in fields(schema()))}."


def _no_choice(text: str, found: re.Match[str]) -> str:
    group, _, name = found["choice"].rpartition("/")
    if group.startswith("hydra/"):
        return f"{group}={name}: no such choice. --hydra-help lists all."
    # `experiment/table9/7b` is choice table9/7b of group experiment, `model/a/b` a hub id.
    group, _, folder = group.partition("/")
    name = f"{folder}/{name}" if folder else name
    known = choices(group)
    if not known:
        return f"{_where(text)}{_no_group(group)}"
    return f"{_where(text)}{group}={name}: no such choice. {_suggest_choice(group, name, known)}"


def _no_group(group: str) -> str:
    return f"There is no group '{group}'. {_suggest_setting(group)}"


def _suggest_choice(group: str, name: str, known: list[str]) -> str:
    beginning = [one for one in known if one.startswith(name)]
    if len(beginning) > 1:
        return f"Did you mean one of {', '.join(beginning)}?"
    if close := (beginning[0] if beginning else closest(name, known)):
        return f"Did you mean '{close}'? --help lists all."
    own = {"model": "model.source=FOLDER_OR_HUB_ID", "data": "data.path=FILE"}
    yours = f" Your own: {group}=local {own[group]}." if group in own else ""
    return f"There are: {', '.join(known)}.{yours}"


def _where(text: str) -> str:
    """The file in which Hydra found the mistake; nothing for a mistake of the command line."""
    source = re.search(r"In '([^']+)'", text)
    path = yaml_files.path_of(source[1]) if source else ""
    return f"In {path}: " if path and path != f"conf/{_root_of_ours(path)}.yaml" else ""


def _root_of_ours(path: str) -> str:
    return Path(path).stem  # Hydra blames conf/train.yaml for a group that was chosen by hand


def _no_override(text: str, found: re.Match[str]) -> str:
    full = re.search(r"full_key: (\S+)", text)
    key = full[1] if full else found["key"]
    if key in settings():  # a file with `lora.rank: 8`
        group, _, name = key.rpartition(".")
        return f"{_where(text)}{key} is nested in a file: '{group}:', and '{name}: ...' below it."
    return _where(text) + unknown_setting(key)


def _wrong_type(text: str, found: re.Match[str]) -> str:
    key = re.search(r"full_key: (\S+)", text)
    name = key[1] if key else "a setting"
    hint = settings().get(name)
    value = found["value"] if "value" in found.re.groupindex else "null"
    return f"{_where(text)}{name}={value} is not {_describe(hint)}."


def _describe(hint: Any) -> str:
    maybe = type(None) in get_args(hint)
    kind = next(k for k in get_args(hint) if k is not type(None)) if maybe else hint
    optional = " (or null)" if maybe else ""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(member.value for member in kind)}{optional}"
    if get_origin(kind) is list:
        return "a list: write [a,b]"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if is_dataclass(kind):
        return f"a group of settings{optional}; choose a file with GROUP=NAME"
    return names.get(kind, "a value of the right type") + optional


def _missing(text: str, found: re.Match[str]) -> str:
    full = re.search(r"full_key: (\S+)", text)
    key = full[1] if full else found["key"]
    return f"{key} has no value. Give it with {key}=..."


def _broken_reference(text: str, found: re.Match[str]) -> str:
    key = re.search(r"full_key: (\S+)", text)
    return f"{key[1] if key else 'A setting'} refers to '{found['target']}', which does not exist."


def _several_values(_: str, found: re.Match[str]) -> str:
    return (
        f"{found['override']}: several values need a sweep: add -m, "
        "or quote one list as key=[a,b] or one text as key='\"a,b\"'."
    )


def _unreadable(_: str, found: re.Match[str]) -> str:
    return (
        f"Cannot read the command line at '{found['override']}'. "
        "Write key=value, [a,b] for a list, and quotes around odd characters: 'key=\"a = b\"'."
    )


def _no_removal(_: str, found: re.Match[str]) -> str:
    key = found["key"]
    if key not in settings():
        return unknown_setting(key)
    return f"~{key}: a setting cannot be removed. Give it a value: {key}=..."


def _not_a_group(_: str, __: re.Match[str]) -> str:
    return "A group takes the name of a file: for example lora=attention, or lora.rank=8."


def _inside_null(_: str, __: re.Match[str]) -> str:
    return (
        "An override sets something inside a group that is off (null). "
        "For an evaluation, switch it on: evals=[heldout,exact_match,samples,answers]."
    )


def _bad_value(_: str, found: re.Match[str]) -> str:
    value = found["value"].strip("\"'")
    return f"{found['key']}={value} is not {_describe(settings().get(found['key']))}."


def _wrong_kind(text: str, found: re.Match[str]) -> str:
    kinds = {"list": "a list", "List": "a list", "str": "a text"}
    given = kinds.get(found["given"], f"of type {found['given']}")
    return f"{_where(text)}a group of settings is {given}. Write KEY: VALUE below its name."


def _bad_defaults(text: str, found: re.Match[str]) -> str:
    path = yaml_files.path_of(found["file"])
    return f"In {path}: defaults is a mapping. Write it as a list: '- GROUP: NAME' on each line."


_NO_LIST = r"Invalid defaults list in '(?P<file>[^']+)', defaults must be a list"
_NO_SUCH_PAIR = r"flag can only be used in conjunction|Only one of --run, --multirun"
_GROUP_AS_NUMBER = "Config group override must be a string or a list"
_INSIDE_NULL = "Unexpected type for root: NoneType"


def no_plug_in(launcher: str) -> str:
    return f"hydra/launcher={launcher} needs a plug-in: pip install 'anima-exp[{launcher}]'"


_ANSWERS: list[tuple[str, Callable[[str, re.Match[str]], str]]] = [
    (r"Could not (?:find|load) 'hydra/launcher/submitit_slurm'", lambda t, f: no_plug_in("slurm")),
    (r"Could not (?:find|load) '(?P<choice>[^']+)'", _no_choice),
    (_GROUP_AS_NUMBER, _not_a_group),
    (_NO_LIST, _bad_defaults),
    (r"Cannot merge DictConfig with (?P<given>List)Config", _wrong_kind),
    (r"LexerNoViableAltException: (?P<override>[^\n]*)", _unreadable),
    (r"Merge error: (?P<given>\w+) is not a subclass of", _wrong_kind),
    (_INSIDE_NULL, _inside_null),
    (r"Error merging override (?P<key>[\w.]+)=(?P<value>\S+)", _bad_value),
    (
        r"(?:no viable alternative|mismatched input|extraneous input).*? '(?P<override>[^']*)'",
        _unreadable,
    ),
    (
        r"Could not override '(?P<choice>[\w./-]+)'\.\s*No match in the defaults list",
        lambda t, f: unknown_setting(f["choice"]),
    ),
    (r"Ambiguous value for argument '(?P<override>[^']+)'", _several_values),
    (r"Value '(?P<value>.*?)' (?:of type|is not|could not)", _wrong_type),
    (r"Invalid value '(?P<value>.*?)', expected one of", _wrong_type),
    (r"Cannot assign (?P<value>\S+?)[ =]", _wrong_type),
    (r"field '(?P<field>\w+)' is not Optional", _wrong_type),
    (r"Could not delete from config\.\s*'(?P<key>[\w.]+)'", _no_removal),
    (r"Could not (?:override|append to) config.*?'?(?P<key>[\w.]+)'?", _no_override),
    (r"Could not override '(?P<key>[\w.]+)'", _no_override),
    (r"Key '(?P<key>[\w.]+)' (?:not in|is not in struct)", _no_override),
    (r"[Mm](?:issing mandatory|andatory) value: (?P<key>[\w.]+)", _missing),
    (r"Interpolation key '(?P<target>[\w.]+)' not found", _broken_reference),
    (
        r"In '[^']+': \w+ raised while composing config:\n(?P<what>[^\n]+)",
        lambda t, f: _where(t) + f["what"],
    ),
]
