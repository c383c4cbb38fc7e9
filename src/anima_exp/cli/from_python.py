"""Compose configs from Python: the words, the checks and the error texts of the command line.

Hydra and OmegaConf keep registries for the whole process, where a user's own Hydra program may
run too. They are lent for the time of one composition and given back as they were.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from anima_exp.cli import yaml_files
from anima_exp.cli.adapter_settings import with_adapter
from anima_exp.cli.compose import parse, register_schema, with_file
from anima_exp.cli.error_messages import choices, explain_error
from anima_exp.cli.overrides import assignment, composable, refuse_lists, split_options
from anima_exp.config import RunConfig
from anima_exp.config.program_settings import former_names, schema_lent
from anima_exp.errors import AnimaError, ConfigError, RunEnded, permissions
from anima_exp.libraries.hydra_errors import answers_an_override
from anima_exp.libraries.hydra_internals import config_loader, registries_lent
from anima_exp.results import identity
from anima_exp.system.paths import expanded, shipped

Setting: TypeAlias = (
    "str | int | float | bool | Path | Enum | Sequence[Setting] | Mapping[str, Setting] | None"
)
Config = TypeVar("Config", bound=RunConfig)
Expand = Callable[[list[str]], list[str]]

_composing = threading.RLock()  # one thread at a time: the registries belong to the process
_WORDS = "_words"  # attribute of a config


@dataclass(frozen=True)
class Words:
    """The words that a config was composed from, and the settings that they gave."""

    words: tuple[str, ...]
    config_dir: Path | None
    settings: Mapping[str, Any]
    composed: bool = True  # else every setting is among the words, and none follows from another


def compose(
    schema: type[Config],
    words: Sequence[str],
    *,
    program: str = "train",
    expand: Expand = with_adapter,
    config_dir: str | Path | None = None,
) -> Config:
    """Return the checked config that these words give the command `program`.

    Args:
        schema: the dataclass of the command's settings.
        expand: the user's words -> those that Hydra composes.
        config_dir: a folder of config files of the user's own.

    Raises:
        AnimaError: if a word or a file has a mistake. The text is that of the command line.
    """
    with hydra(schema, words, config_dir=config_dir) as loader:
        cfg = composed(loader, words, program=program, expand=expand)
        refuse_lists(cfg.hydra.runtime.choices, cfg.hydra.overrides.task)
        with open_dict(cfg):
            del cfg["hydra"]
        config = parse(cfg)
        assert isinstance(config, schema)
        known = tuple(former_names().overrides(words))  # what is appended has today's names
    place = None if config_dir is None else _folder(config_dir)
    vars(config)[_WORDS] = Words(known, place, identity.flatten(config))
    return config


@contextmanager
def hydra(
    schema: type, words: Sequence[str], *, config_dir: str | Path | None = None
) -> Iterator[ConfigLoader]:
    """Lend Hydra with our settings to this thread. Mistakes inside become one line."""
    with (
        _composing,
        registries_lent(),
        schema_lent(schema),
        yaml_files.forgotten(),
        in_one_line(words),  # innermost: what is known of schema and files is in its texts
    ):
        extra = None if config_dir is None else _folder(config_dir)
        register_schema(schema)
        yield config_loader(shipped("conf"), extra)


def composed(
    loader: ConfigLoader,
    words: Sequence[str],
    *,
    program: str,
    expand: Expand,
    mode: RunMode = RunMode.RUN,
) -> DictConfig:
    """Compose `words`. The node `hydra` of the result holds Hydra's own settings.

    Raises:
        ConfigError: if one of the words is an option of the command line.
    """
    several = ["-m"] if mode is RunMode.MULTIRUN else []
    options, settings = split_options(expand(composable([*several, *words])))
    if options != several:
        option = next(one for one in options if one not in several)
        raise ConfigError(f"{option} is an option of the command line. From Python, give settings.")
    cfg: DictConfig = loader.load_configuration(program, settings, run_mode=mode, from_shell=False)
    return cfg


@contextmanager
def in_one_line(words: Sequence[str]) -> Iterator[None]:
    """Raise what Hydra says as a ConfigError of one line, as the commands print it."""
    try:
        with permissions():
            yield
    except (AnimaError, RunEnded) as error:
        text = with_file(str(error), words)
        if text == str(error):
            raise
        raise ConfigError(text) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(with_file(explain_error(error), words)) from None
    except (ValueError, AssertionError) as error:  # Hydra's answers to a few overrides
        if not answers_an_override(error):
            raise
        raise ConfigError(with_file(explain_error(error), words)) from None


def as_words(settings: Mapping[str, Setting]) -> list[str]:
    """Return settings as words: `{"lora__rank": 8, "seed": 1}` gives ["lora.rank=8", "seed=1"].

    Two underscores stand for a dot. A mapping holds settings of a group.
    """
    words: list[str] = []
    for name, value in settings.items():
        key = name.replace("__", ".")
        if isinstance(value, Mapping):
            words += as_words({f"{key}.{inner}": one for inner, one in value.items()})
        else:
            words.append(assignment(key, plain(value, key)))
    return words


def plain(value: object, key: str) -> Any:
    """Return a value of Python as JSON has it: a path as a text, a NumPy number as a number.

    Raises:
        ConfigError: if no setting can have such a value.
    """
    if isinstance(value, Enum):
        return plain(value.value, key)
    if callable(tolist := getattr(value, "tolist", None)):  # of NumPy or torch
        return plain(tolist(), key)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(one, key) for one in value]
    raise ConfigError(
        f"{key} is of type {type(value).__name__}, which no setting takes. Give a text, a number, "
        "true or false, None, or a list of these."
    )


def words_of(config: RunConfig) -> Words:
    """Return the words that give `config`: those it was composed from, and what changed since.

    A config that was made in another way is written setting by setting. Then no setting follows
    from another one any more, as the learning rate from the model.
    """
    known = vars(config).get(_WORDS)
    now = identity.flatten(config)
    if isinstance(known, Words):
        changed = {key: value for key, value in now.items() if known.settings.get(key) != value}
        if not changed:
            return known
        if config.rehearsal_scale == 1.0:  # else what has been scaled already would be scaled again
            more = [assignment(key, value) for key, value in changed.items()]
            return replace(known, words=(*known.words, *more))
    return Words(tuple(_every_setting(config, now)), None, now, composed=False)


def _every_setting(config: RunConfig, settings: Mapping[str, Any]) -> Iterator[str]:
    on = [name for name in choices("evals") if getattr(config.evals, name)]
    yield assignment("evals", on)
    for key, value in settings.items():
        off = key.startswith("evals.") and value is None and key.count(".") == 1
        if not off and key != "rehearsal_scale":  # it is in the other settings
            yield assignment(key, value)


def _folder(config_dir: str | Path) -> Path:
    folder = expanded(config_dir, "config_dir").absolute()
    if not folder.is_dir():
        raise ConfigError(f"config_dir={config_dir}: there is no such folder.")
    return folder
