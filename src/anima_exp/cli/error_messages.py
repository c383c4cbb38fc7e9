"""Explain errors of Hydra and OmegaConf in one line: the setting, its value, what to do."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from anima_exp.cli import foreign_names, sweep_source, yaml_files
from anima_exp.config.lookup import closest
from anima_exp.config.program_settings import schema, settings
from anima_exp.errors import AnimaError, RunEnded, first_line
from anima_exp.libraries import hydra_errors
from anima_exp.libraries.hydra_errors import Kind, Mistake
from anima_exp.system.paths import shipped


def explain_error(error: BaseException) -> str:
    """Return one line for an error in a command line or a YAML file.

    An error of anima-exp is already one line. Of an unknown error the first line is kept.
    """
    if isinstance(error, AnimaError | RunEnded):
        return str(error)
    if mistake := hydra_errors.read(error):
        return _ANSWERS[mistake.kind](mistake)
    return first_line(error)


def unknown_setting(key: str) -> str:
    """Return "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?" for `lora.rnak`."""
    instead = None if key.startswith("evals.") else foreign_names.answer(key, settings())
    return f"There is no setting '{key}'. {instead or _suggest_setting(key)}"


def takes_one_file(group: str) -> bool:
    """Return whether a group takes one file of conf/, unlike evals=[heldout,mmlu]."""
    several = group in ("evals", "tracking")
    return is_dataclass(settings().get(group)) and not several and bool(choices(group))


def choices(group: str) -> list[str]:
    """Return the choices of a group: [guanaco33b, llama7b, ...] for `model`."""
    if group == "sweep":
        return sweep_source.names()
    folder = shipped("conf") / group
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


_DEFAULTS = ("model.recommended.", "model.shape.", "data.length_stats.")  # other groups take these


def _suggest_setting(key: str) -> str:
    known = [k for k in settings() if not k.startswith(_DEFAULTS) or key.startswith(_DEFAULTS)]
    if key.startswith("hydra.sweeper."):
        return (
            "A sweep has params, points and multipliers; hydra/sweeper=optuna has n_trials as well."
        )
    if key.startswith("hydra."):
        return "Hydra's own settings are listed by --hydra-help."
    group, _, name = key.rpartition(".")
    # Search the settings of the same group first, by the last part of the key, then all settings.
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


def _no_choice(mistake: Mistake) -> str:
    group, _, name = mistake.parts["choice"].rpartition("/")
    if group.startswith("hydra/"):
        return f"{group}={name}: there is no such choice. --hydra-help lists all choices."
    # `experiment/table9/7b` is choice table9/7b of group experiment, `model/a/b` a hub id.
    group, _, folder = group.partition("/")
    name = f"{folder}/{name}" if folder else name
    known = choices(group)
    if not known:
        return f"{_where(mistake)}{_no_group(group)}"
    return f"{_where(mistake)}{group}={name}: no such choice. {_suggest_choice(group, name, known)}"


def _no_group(group: str) -> str:
    return f"There is no group '{group}'. {_suggest_setting(group)}"


def _suggest_choice(group: str, name: str, known: list[str]) -> str:
    beginning = [one for one in known if one.startswith(name)]
    if len(beginning) > 1:
        return f"Did you mean one of {', '.join(beginning)}?"
    if close := (beginning[0] if beginning else closest(name, known)):
        return f"Did you mean '{close}'? `anima-exp help {group}` lists all."
    own = {"model": ("model.source", "FOLDER_OR_HUB_ID"), "data": ("data.path", "FILE")}
    yours = ""
    if group in own:
        key, value = own[group]
        value = name if "/" in name or "." in name else value  # a path, a file or a hub id
        yours = f" Your own: {group}=local {key}={value}."
    return f"There are: {', '.join(known)}.{yours}"


def _where(mistake: Mistake) -> str:
    """Return "In FILE: " for an error in a file; nothing for an error in the command line."""
    path = yaml_files.path_of(mistake.file) if mistake.file else ""
    return f"In {path}: " if path and path != f"conf/{_root_of_ours(path)}.yaml" else ""


def _root_of_ours(path: str) -> str:
    return Path(path).stem  # Hydra names conf/train.yaml for a choice on the command line


def _no_override(mistake: Mistake) -> str:
    key = mistake.key or mistake.parts["key"]
    if key in settings():  # a file with `lora.rank: 8`
        group, _, name = key.rpartition(".")
        return (
            f"{_where(mistake)}{key} is nested in a file: '{group}:', and '{name}: ...' below it."
        )
    return _where(mistake) + unknown_setting(key)


def _wrong_type(mistake: Mistake) -> str:
    name = mistake.key or "a setting"
    hint = settings().get(name)
    value = mistake.parts.get("value", "null")
    return f"{_where(mistake)}{name}={value} is not {_describe(hint)}."


def _describe(hint: Any) -> str:
    maybe = type(None) in get_args(hint)
    kind = next(k for k in get_args(hint) if k is not type(None)) if maybe else hint
    optional = " (or null)" if maybe else ""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(member.value for member in kind)}{optional}"
    if get_origin(kind) is list:
        item = get_args(kind)[0]
        if isinstance(item, type) and issubclass(item, Enum):
            known = ", ".join(member.value for member in item)
            return f"a list of {known}: write [{next(iter(item)).value}]"
        return "a list: write [a,b]"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if is_dataclass(kind):
        return f"a group of settings{optional}; choose a file with GROUP=NAME"
    return names.get(kind, "a value of the right type") + optional


def _missing(mistake: Mistake) -> str:
    key = mistake.key or mistake.parts["key"]
    return f"{key} has no value. Give it with {key}=..."


def _broken_reference(mistake: Mistake) -> str:
    return (
        f"{mistake.key or 'A setting'} refers to '{mistake.parts['target']}', which does not exist."
    )


def _several_values(mistake: Mistake) -> str:
    return (
        f"{mistake.parts['override']} gives several values, which needs a sweep. Add -m, "
        "or write one list as key=[a,b], or one text as key='\"a,b\"'."
    )


def _unreadable(mistake: Mistake) -> str:
    return (
        f"Cannot read the command line at '{mistake.parts['override']}'. "
        "Write key=value, [a,b] for a list, and quotes around special characters: "
        "'key=\"a = b\"'."
    )


def _needless_plus(mistake: Mistake) -> str:
    key = mistake.parts["key"]
    return f"+{key}: the setting already exists. Write {key}=... without the plus sign."


def _no_removal(mistake: Mistake) -> str:
    key = mistake.parts["key"]
    if key not in settings():
        return unknown_setting(key)
    return f"~{key}: a setting cannot be removed. Give it another value: {key}=..."


def _not_a_group(_: Mistake) -> str:
    return "A group takes the name of a file, as in lora=attention. A setting: lora.rank=8."


def _inside_null(_: Mistake) -> str:
    return (
        "An override sets a setting of a group that is off (null). Switch the group on first. "
        "For an evaluation: evals=[heldout,exact_match,samples,answers]."
    )


def _bad_value(mistake: Mistake) -> str:
    key, value = mistake.parts["key"], mistake.parts["value"].strip("\"'")
    return f"{key}={value} is not {_describe(settings().get(key))}."


def _wrong_kind(mistake: Mistake) -> str:
    kinds = {"list": "a list", "List": "a list", "str": "a text"}
    given = kinds.get(mistake.parts["given"], f"of type {mistake.parts['given']}")
    return (
        f"{_where(mistake)}a group of settings is {given}, not a mapping. "
        "Write KEY: VALUE on the lines below its name."
    )


def _bad_defaults(mistake: Mistake) -> str:
    path = yaml_files.path_of(mistake.parts["file"])
    return f"In {path}: defaults is a mapping, not a list. Write '- GROUP: NAME' on each line."


def no_plug_in(launcher: str) -> str:
    """Return the message for a launcher whose plug-in is not installed."""
    return (
        f"hydra/launcher={launcher} needs a plug-in that is not installed: "
        f"pip install 'anima-exp[{launcher}]'"
    )


_ANSWERS: dict[Kind, Callable[[Mistake], str]] = {
    Kind.no_slurm: lambda mistake: no_plug_in("slurm"),
    Kind.no_choice: _no_choice,
    Kind.group_as_number: _not_a_group,
    Kind.bad_defaults: _bad_defaults,
    Kind.wrong_kind: _wrong_kind,
    Kind.unreadable: _unreadable,
    Kind.inside_null: _inside_null,
    Kind.bad_value: _bad_value,
    Kind.no_group: lambda mistake: unknown_setting(mistake.parts["choice"]),
    Kind.several_values: _several_values,
    Kind.wrong_type: _wrong_type,
    Kind.no_removal: _no_removal,
    Kind.no_override: _no_override,
    Kind.needless_plus: _needless_plus,
    Kind.missing: _missing,
    Kind.broken_reference: _broken_reference,
    Kind.while_composing: lambda mistake: _where(mistake) + mistake.parts["what"],
}
