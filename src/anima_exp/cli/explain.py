"""Explain one name: a setting, a group, a choice, a metric or a command.

explain("trainer.batch_size")     # the sentence, range, default and origin of a setting
explain("model")                  # the choices of a group
explain("model=guanaco33b")       # what a choice sets
explain("heldout_loss")           # a metric
"""

import textwrap
from collections.abc import Iterator, Mapping

from anima_exp.cli import conf_files
from anima_exp.cli.command import Command, schema_of
from anima_exp.cli.commands import COMMANDS, FORMER
from anima_exp.cli.conf_files import BY_HAND, Line
from anima_exp.cli.short_help import short_help
from anima_exp.config.catalogue import Entry, catalogue, former_keys
from anima_exp.config.lookup import closest
from anima_exp.config.reference import values
from anima_exp.config.setting import MISSING
from anima_exp.errors import ConfigError

_MOST_FILES = 6  # that set a key, in its explanation
_MOST_KEYS = 8  # of an ambiguous name
_INDENT = 11  # of what stands behind a heading


def explain(name: str, width: int = 80) -> str:
    """Return the explanation of `name` in lines of at most `width` columns.

    Raises:
        ConfigError: if nothing has this name.
    """
    name = name.strip()
    group, equals, choice = name.partition("=")
    group = group.strip("/")
    if equals:
        return _choice_or_value(group, choice, width)
    if name in COMMANDS or name in FORMER:
        text = short_help(COMMANDS[FORMER.get(name, name)], width)
        return f"{text}\n\n{_group(name, width)}" if name in conf_files.groups() else text
    if group in conf_files.groups():
        return _group(group, width)
    if result := _settings(name):
        texts = [_setting(key, entry, commands, width) for key, entry, commands in result]
        texts += ["\n".join(_fact("see also", ", ".join(_others(name)), width))]
        return "\n\n".join(filter(None, texts))
    if metric_text := _metric(name, width):
        return metric_text
    return _former_or_short(name, width)


def schemas() -> dict[type, list[Command]]:
    """Return the schema of each command, and the commands that have it."""
    result: dict[type, list[Command]] = {}
    for command in COMMANDS.values():
        if command.schema:
            result.setdefault(schema_of(command), []).append(command)
    return result


def _settings(key: str) -> list[tuple[str, Entry, list[Command]]]:
    """Return the settings with this key; two commands may have different ones of one name."""
    result: list[tuple[str, Entry, list[Command]]] = []
    for schema, commands in schemas().items():
        entry = catalogue(schema).get(key)
        if entry is None:
            continue
        same = next((one for one in result if one[1].setting.about == entry.setting.about), None)
        if same:
            same[2].extend(commands)
        else:
            result.append((key, entry, list(commands)))
    order = list(COMMANDS)
    for _, _, commands in result:
        commands.sort(key=lambda command: order.index(command.name))
    return result


def _others(name: str) -> list[str]:
    """Return other settings whose last part is `name`: trainer.batch_size of batch_size."""
    keys = dict.fromkeys(key for schema in schemas() for key in catalogue(schema))
    return [key for key in keys if key.endswith(f".{name}")][:_MOST_KEYS]


def _setting(key: str, entry: Entry, commands: list[Command], width: int) -> str:
    lines = [key, *_wrapped(entry.setting.about, width), ""]
    if entry.group is not None:
        inside = [k for k in catalogue(schema_of(commands[0])) if k.startswith(f"{key}.")]
        lines += _fact("settings", ", ".join(inside), width)
        return "\n".join([*lines, *_fact("commands", _names(commands), width)])
    lines += _fact("values", values(entry), width)
    with_file = next((command for command in commands if command.config), None)
    known: Mapping[str, Line] = conf_files.defaults(with_file.config or "") if with_file else {}
    lines += _default(key, entry, known, width)
    if entry.setting.formerly:
        lines += _fact("formerly", ", ".join(entry.setting.formerly), width)
    if commands[0].name == "train":
        in_name = "yes, so another value makes another run" if entry.in_name else (
            "no, results do not depend on it"
        )  # fmt: skip
        lines += _fact("in run id", in_name, width)
        lines += _fact("set in", _setters(key), width)
    return "\n".join([*lines, *_fact("commands", _names(commands), width)])


def _default(key: str, entry: Entry, known: Mapping[str, Line], width: int) -> Iterator[str]:
    line = known.get(key)
    if line is None:
        yield from _fact("default", _written(entry.default), width)
        return
    text = line.value
    if "${" in text:
        plain = conf_files.resolved(text, known)
        text = conf_files.explained(text)
        if "${" not in plain:
            text += f"; {plain} with the default choices"
    yield from _fact("default", f"{text}  ({line.file})", width)
    if line.comment:
        yield from _fact("", line.comment, width)


def _setters(key: str) -> str:
    """Return the files that set a key, the choices of its own group first."""
    result = list(dict.fromkeys(line.file for line in conf_files.setters(key)))
    group = key.partition(".")[0]
    result.sort(key=lambda file: not file.startswith(f"conf/{group}/"))
    more = f", and {len(result) - _MOST_FILES} more" if len(result) > _MOST_FILES else ""
    return ", ".join(result[:_MOST_FILES]) + more if result else ""


def _group(group: str, width: int) -> str:
    names = conf_files.choices(group)
    entry = catalogue(schema_of(COMMANDS["train"])).get(group)
    about = _ABOUT.get(group) or (entry.setting.about if entry else "")
    usual = conf_files.chosen("train").get(group)
    longest = min(max(map(len, names)), 28)
    lines = [f"{group}=NAME", *_wrapped(about, width)]
    if usual and usual != "null":
        lines += _wrapped(f"The default is {group}={usual}.", width)
    lines.append("")
    room = width - longest - 4
    for name in names:
        text = conf_files.about(conf_files.file_of(group, name)) if name != BY_HAND else _BY_HAND
        first, *more = _wrapped(conf_files.whole_sentences(text, room), room) or [""]
        lines.append(f"  {name:<{longest}}  {first}".rstrip())
        lines += [f"  {'':<{longest}}  {line}" for line in more]
    lines += ["", *_wrapped(f"anima-exp help {group}={names[0]} shows what a choice sets.", width)]
    inside = [key for key in catalogue(schema_of(COMMANDS["train"])) if _parent(key) == group]
    if inside:
        keys = f"Settings of the group: {', '.join(inside)}."
        lines += ["", *textwrap.wrap(keys, width, break_on_hyphens=False)]
    return "\n".join(lines)


_BY_HAND = "The grid is on the command line: -m seed=0,1,2"
_ABOUT = {
    "experiment": "A published configuration, which may override all other groups.",
    "sweep": "A grid of runs, each file for one question. Start one with anima-exp train -m "
    "sweep=NAME.",
    "evals": "What is measured. Several are given as a list: evals=[heldout,mmlu].",
    "tracking": "Where metrics are sent, next to the run folder. Several are given as a list.",
}


def _choice_or_value(group: str, choice: str, width: int) -> str:
    names = conf_files.choices(group)
    if not names:
        if _settings(group):
            return explain(group, width)
        return _former_or_short(group, width)
    if choice not in names:
        near = closest(choice, names)
        hint = f"Did you mean {group}={near}?" if near else f"There are: {', '.join(names)}."
        raise ConfigError(f"{group}={choice}: no such choice. {hint}")
    if choice == BY_HAND:
        return f"{group}={choice}\n{_BY_HAND}"
    file = conf_files.file_of(group, choice)
    lines = [f"{group}={choice}", *_wrapped(conf_files.about(file), width), ""]
    body = file.read_text(encoding="utf-8").splitlines()
    while body and (body[0].startswith("#") or not body[0].strip()):
        body.pop(0)
    lines += [f"  {line}" for line in body]
    shown = "sweeps" if group == "sweep" else f"conf/{group}"
    lines += ["", f"This is {shown}/{choice}.yaml."]
    start = "-m " if group == "sweep" else ""
    lines.append(f"anima-exp train {start}{group}={choice} --cfg job --resolve shows all settings.")
    return "\n".join(lines)


def _metric(name: str, width: int) -> str | None:
    from anima_exp.metrics.catalogue import known
    from anima_exp.metrics.metric import metric

    entry = known().get(name)
    if entry is None:
        return None
    described = metric(name)
    better = "smaller is better" if described.minimize else "larger is better"
    if entry.where == "metrics.jsonl":
        better = ""
    lines = [name, *_wrapped(entry.what, width), ""]
    lines += _fact("unit", ", ".join(filter(None, [entry.unit, better])), width)
    lines += _fact("measured", entry.source, width)
    lines += _fact("kept in", entry.where, width)
    eval_name = name.removesuffix("_micro").removesuffix("_loss")
    settings = [key for key in catalogue(schema_of(COMMANDS["train"])) if key.startswith(
        (f"evals.{eval_name}.", f"evals.{name}.")
    )]  # fmt: skip
    return "\n".join([*lines, *_fact("settings", ", ".join(settings), width)])


def _former_or_short(name: str, width: int) -> str:
    """Explain a former name, or a key without its group; otherwise suggest what was meant.

    Raises:
        ConfigError: if nothing has this name, or several settings have.
    """
    for schema in schemas():
        if today := former_keys(schema).get(name):
            return f"{name} is called {today} now.\n\n{explain(today, width)}"
    keys = dict.fromkeys(key for schema in schemas() for key in catalogue(schema))
    meant = [key for key in keys if key.endswith(f".{name}")]
    if len(meant) == 1:
        return explain(meant[0], width)
    if meant:
        more = ", ..." if len(meant) > _MOST_KEYS else ""
        raise ConfigError(f"{name} may be {', '.join(meant[:_MOST_KEYS])}{more}. Give one of them.")
    raise ConfigError(f"Nothing is called '{name}'. {_suggestion(name, [*keys])}")


def _suggestion(name: str, keys: list[str]) -> str:
    from anima_exp.cli.foreign_names import answer
    from anima_exp.metrics.catalogue import known

    if other := answer(name, keys):
        return other
    every = [*keys, *COMMANDS, *conf_files.groups(), *known()]
    if near := closest(name, every):
        return f"Did you mean '{near}'?"
    last = {key.rpartition(".")[2]: key for key in keys}
    if near := closest(name.rpartition(".")[2], last):
        return f"Did you mean '{last[near]}'?"
    choice = [
        f"{group}={one}" for group in conf_files.groups() for one in conf_files.choices(group)
        if one == name
    ]  # fmt: skip
    if choice:
        return f"Did you mean '{choice[0]}'?"
    return "`anima-exp help model` lists a group, `anima-exp train --help --all` all settings."


def _written(value: object) -> str:
    """Return the default of a dataclass's field as a command line gives it."""
    if value is None or value == []:
        return "null" if value is None else "[]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value == MISSING else str(getattr(value, "value", value))


def _names(commands: list[Command]) -> str:
    return ", ".join(command.name for command in commands)


def _parent(key: str) -> str:
    return key.rpartition(".")[0]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _fact(heading: str, text: str, width: int) -> list[str]:
    """Return `heading   text`, wrapped behind the heading; nothing without a text."""
    if not text:
        return []
    lines = textwrap.wrap(text, width - _INDENT, break_on_hyphens=False, break_long_words=False)
    return [
        f"{heading if number == 0 else '':<{_INDENT}}{line}" for number, line in enumerate(lines)
    ]
