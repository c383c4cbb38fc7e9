"""Command line -> RunConfig: the schema, sweeps/ as a group, and one line for a user's mistake."""

import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anima_exp.cli import sweep_source, yaml_files
from anima_exp.cli.custom_evals import with_own_evals
from anima_exp.cli.error_messages import explain_error, unknown_setting
from anima_exp.cli.help import sentences_beside_values
from anima_exp.cli.overrides import composable, divided, refuse_lists
from anima_exp.cli.short_help import (
    asks_for_all,
    asks_for_help,
    print_short_help,
    without_help,
)
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import check_limits
from anima_exp.config.checks import check
from anima_exp.config.program_settings import speak_of
from anima_exp.config.scale import apply_scale
from anima_exp.data import formats
from anima_exp.display.terminal_view import TerminalView
from anima_exp.distributed.environment import rank_info
from anima_exp.errors import AnimaError, ConfigError, RunEnded, RunInterrupted, permissions
from anima_exp.events import listening
from anima_exp.libraries.hydra_errors import answers_an_override
from anima_exp.libraries.hydra_internals import store_not_copied
from anima_exp.system.paths import shipped
from anima_exp.system.signals import SCHEDULER_SIGNALS, handle
from anima_exp.system.terminal import escape_unencodable, print_stderr, tell_lines, write
from hydra_plugins import _anima_exp


# ${unless:${trainer.num_epochs},${data.recommended.max_steps}}: data.recommended.max_steps, unless
# trainer.num_epochs has a value.
def _unless(given: Any, otherwise: Any) -> Any:
    return otherwise if given is None else None


def _offer_resolvers() -> None:
    OmegaConf.register_new_resolver("unless", _unless, replace=True)
    # ${template_of:${data.recipe}}: how a bare question is put to a model that it has taught.
    OmegaConf.register_new_resolver("template_of", formats.prompt_template_of, replace=True)


def register_schema(schema: type = RunConfig) -> None:
    """Give Hydra the schema, our plug-ins and the group `sweep`. Call before it composes."""
    speak_of(schema)
    _offer_resolvers()
    _anima_exp.offer()
    ConfigStore.instance().store(name="schema", node=_open(schema))
    if issubclass(schema, RunConfig):
        sweep_source.offer()


def _open(schema: type) -> DictConfig:
    """Return the schema as a config whose tables by name, as evals.custom, take new names."""
    node: DictConfig = OmegaConf.structured(schema)
    for key in ("evals.custom", "evals.benchmarks") if issubclass(schema, RunConfig) else ():
        OmegaConf.set_struct(OmegaConf.select(node, key), False)
    return node


def parse(cfg: DictConfig) -> Any:
    """Hydra's config as the schema's plain dataclasses. Below this line nobody imports Hydra.

    A RunConfig is checked here; what is not one is checked by who asked for it.

    Raises:
        ConfigError: a setting is unknown, missing, or contradicts another.
    """
    reject_unknown(cfg)
    return finish(cfg)


def finish(cfg: DictConfig) -> Any:
    """The second half of `parse`, for a config that is known to have no unknown key."""
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(explain_error(error)) from error
    check_limits(config)
    if isinstance(config, RunConfig):
        config = apply_scale(with_own_evals(config))
        check(config)
    return config


def run_command(
    work: Callable[[Any], Any],
    *,
    schema: type = RunConfig,
    config_name: str = "train",
    expand: Callable[[list[str]], list[str]] = list,
) -> None:
    """Run `work` as a program: compose its config from sys.argv, check it, call it.

    Args:
        schema: the dataclass of its settings; conf/`config_name`.yaml holds their values.
        expand: the user's arguments -> those that Hydra is to compose.

    Hydra prints the user's mistakes over several lines and advises `+key=value`, which would
    smuggle a typo in. So its errors are taken whole (HYDRA_FULL_ERROR) and said in one line;
    a bug still shows its traceback. In a sweep one cell's mistake does not stop the others.
    """
    if asks_for_help(sys.argv[1:]):
        if not asks_for_all(sys.argv[1:]):
            print_short_help(config_name)
            return
        sys.argv[1:] = ["--help", *without_help(sys.argv[1:])]
    escape_unencodable()
    register_schema(schema)
    # The plug-in's own config has the name of conf/hydra/launcher/ray.yaml, which is complete.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated against ConfigStore")
    given = os.environ.get("HYDRA_FULL_ERROR")
    full_error = given == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    handle([signal.SIGTERM], _terminated)
    failed: list[int] = []  # exit statuses; the errors themselves would keep a model alive

    def mistake(error: Exception, cell: str = "", *, told: bool = False) -> None:
        if full_error:
            traceback.print_exception(error)
        if not (told or getattr(error, "told", False)):
            tell_lines(f"{cell}{with_file(explain_error(error), sys.argv[1:])}")
        failed.append(getattr(error, "exit_status", 1))

    def task(cfg: DictConfig) -> Any:
        _offer_resolvers()  # a cluster's process is handed a config and calls nothing else first
        cell = _cell()
        if cell:
            write(f"\n{cell}\n")
        try:
            chosen = HydraConfig.get()
            refuse_lists(chosen.runtime.choices, chosen.overrides.task)
            config = parse(cfg)
        except AnimaError as error:
            mistake(error, f"{cell}: " if cell else "", told=_told_by_another())
            return None
        try:
            with permissions(), listening(TerminalView()):
                return work(config)
        except RunInterrupted as error:  # all of it is to stop, not this cell alone
            mistake(error)
            _pass_on(error.exit_status - 128)
            sys.exit(error.exit_status)
        except (AnimaError, RunEnded) as error:
            mistake(error, f"{cell}: " if cell else "")
            return None

    try:
        with permissions(), listening(TerminalView()):
            options, settings = divided(expand(composable(sys.argv[1:])))
        sys.argv[1:] = [*options, *settings]
        folder = str(shipped("conf"))
        beside = sentences_beside_values(options, schema)
        with store_not_copied(), beside, listening(TerminalView()):
            hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(task)()
    except (AnimaError, RunEnded, HydraException, OmegaConfBaseException) as error:
        mistake(error, told=_told_by_another())
    except (ValueError, AssertionError) as error:  # Hydra's answers to a few overrides
        if not answers_an_override(error):
            raise
        mistake(error, told=_told_by_another())
    except KeyboardInterrupt:  # outside training: see stop_on_signals
        print_stderr("stopped; the same command goes on.")
        sys.exit(130)
    finally:
        if given is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = given
    if failed:
        sys.exit(failed[0])


_ABOUT = re.compile(
    r"^(?P<cell> *(?:#\d+(?: and \d+ more)?: )?)"
    r"(?=(?P<key>[\w.]+)(?:[=:]| refers to)|There is no setting '(?P<unknown>[\w.]+)')",
    re.MULTILINE,
)


def with_file(message: str, arguments: Sequence[str]) -> str:
    """Return the message, after "In FILE: " if a file of the user made the mistake.

    Args:
        arguments: what the user gave besides files.
    """
    given = {argument.lstrip("+").partition("=")[0] for argument in arguments}

    def place(found: re.Match[str]) -> str:
        key = found["key"] or found["unknown"]
        file = None if key in given else yaml_files.setting(key)
        return f"{found['cell']}In {file}: " if file else found["cell"]

    return _ABOUT.sub(place, message)


def _told_by_another() -> bool:
    """Whether another process prints a mistake in the settings, which all of them make.

    Under torchrun one process on each machine does.
    """
    try:
        return rank_info().local_rank > 0
    except ConfigError:  # what the launcher says cannot be, and that is the mistake
        return False


def _pass_on(number: int) -> None:
    """To a cluster's launcher, now that there is a checkpoint: it has the job queued again."""
    if number in SCHEDULER_SIGNALS:
        signal.raise_signal(number)


def _terminated(number: int, _: Any) -> NoReturn:
    print_stderr("terminated; the same command goes on.")
    sys.exit(128 + number)


def _cell() -> str:
    """This job's own overrides, in a sweep."""
    settings = HydraConfig.get()
    if settings.mode is not RunMode.MULTIRUN:
        return ""
    return f"#{settings.job.num} {' '.join(settings.overrides.task)}"


def reject_unknown(node: Any, path: str = "") -> None:
    """Raise ConfigError for a key that is in no dataclass.

    Hydra lets `+key=value` past the schema and hands it on as a stray attribute.
    """
    if not isinstance(node, DictConfig):
        return
    schema = OmegaConf.get_type(node)
    known = getattr(schema, "__dataclass_fields__", None)
    for key in map(str, node):
        if known is not None and key not in known:
            raise ConfigError(unknown_setting(f"{path}{key}"))
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            reject_unknown(node[key], f"{path}{key}.")
