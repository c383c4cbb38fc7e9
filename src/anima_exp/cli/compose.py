"""Compose a RunConfig from the command line, and report errors of the user in one line."""

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

from anima_exp.cli import overview, sweep_source, yaml_files
from anima_exp.cli.custom_evals import with_own_evals
from anima_exp.cli.error_messages import explain_error, unknown_setting
from anima_exp.cli.help import with_descriptions
from anima_exp.cli.mixture_parts import with_parts
from anima_exp.cli.overrides import composable, refuse_lists, split_options
from anima_exp.cli.short_help import (
    asks_for_all,
    asks_for_help,
    print_short_help,
    without_help,
)
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import check_limits
from anima_exp.config.checks import check
from anima_exp.config.program_settings import set_schema
from anima_exp.config.scale import apply_scale
from anima_exp.data import formats, parts
from anima_exp.display.terminal_view import TerminalView
from anima_exp.distributed.environment import rank_info
from anima_exp.errors import AnimaError, ConfigError, RunEnded, RunInterrupted, permissions
from anima_exp.events import listening
from anima_exp.libraries.hydra_errors import answers_an_override
from anima_exp.libraries.hydra_internals import store_not_copied
from anima_exp.system.paths import shipped
from anima_exp.system.signals import SCHEDULER_SIGNALS, handle
from anima_exp.system.terminal import (
    escape_unencodable,
    outlive_readers,
    print_stderr,
    tell_lines,
    write,
)
from hydra_plugins import _anima_exp


# ${unless:${trainer.num_epochs},${data.recommended.max_steps}}: data.recommended.max_steps, unless
# trainer.num_epochs has a value.
def _unless(given: object, otherwise: object) -> object:
    return otherwise if given is None else None


def _template_of_parts(given: DictConfig, recipe: str) -> str:
    return parts.prompt_template_of(given, recipe)


def _offer_resolvers() -> None:
    OmegaConf.register_new_resolver("unless", _unless, replace=True)
    # ${template_of:${data.recipe}}: the prompt template that belongs to a recipe.
    OmegaConf.register_new_resolver("template_of", formats.prompt_template_of, replace=True)
    # ${template_of_parts:${data.parts},${data.recipe}}: that of the parts of a mixture.
    OmegaConf.register_new_resolver("template_of_parts", _template_of_parts, replace=True)


def register_schema(schema: type = RunConfig) -> None:
    """Register the schema, the plug-ins and the group `sweep` with Hydra, before it composes."""
    set_schema(schema)
    _offer_resolvers()
    _anima_exp.offer()
    ConfigStore.instance().store(name="schema", node=_open(schema))
    if issubclass(schema, RunConfig):
        sweep_source.offer()


def _open(schema: type) -> DictConfig:
    """Return the schema as a config in which tables such as evals.custom accept new names."""
    node: DictConfig = OmegaConf.structured(schema)
    for key in (
        ("evals.custom", "evals.benchmarks", "data.parts") if issubclass(schema, RunConfig) else ()
    ):
        OmegaConf.set_struct(OmegaConf.select(node, key), False)
    return node


def parse(cfg: DictConfig) -> Any:
    """Convert Hydra's config to the plain dataclasses of the schema.

    A RunConfig is checked here. The caller checks configs of other schemas.

    Raises:
        ConfigError: if a setting is unknown, missing, or contradicts another.
    """
    reject_unknown(cfg)
    return finish(cfg)


def finish(cfg: DictConfig) -> Any:
    """Convert a config that has no unknown keys, as the second half of `parse`."""
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(explain_error(error)) from error
    check_limits(config)
    if isinstance(config, RunConfig):
        config = apply_scale(with_parts(with_own_evals(config)))
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

    Hydra prints errors over several lines and advises `+key=value`, which would accept a
    misspelled key. So its errors are caught (HYDRA_FULL_ERROR) and printed in one line; a bug
    still shows its traceback. In a sweep, an error in one cell does not stop the others.
    """
    if "--version" in sys.argv[1:]:
        overview.show(version=True)
        return
    if asks_for_help(sys.argv[1:]):
        if not asks_for_all(sys.argv[1:]):
            print_short_help(config_name)
            return
        sys.argv[1:] = ["--help", *without_help(sys.argv[1:])]
    outlive_readers()
    escape_unencodable()
    register_schema(schema)
    # The plug-in's own config has the name of conf/hydra/launcher/ray.yaml, which is complete.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated against ConfigStore")
    given = os.environ.get("HYDRA_FULL_ERROR")
    full_error = given == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    handle([signal.SIGTERM], _terminated)
    failed: list[int] = []  # exit statuses, because the error objects would keep a model alive

    def report(error: Exception, cell: str = "", *, reported: bool = False) -> None:
        if full_error:
            traceback.print_exception(error)
        if not (reported or getattr(error, "reported", False)):
            tell_lines(f"{cell}{with_file(explain_error(error), sys.argv[1:])}")
        failed.append(getattr(error, "exit_status", 1))

    def task(cfg: DictConfig) -> Any:
        _offer_resolvers()  # a process on a cluster gets a config and calls only this function
        cell = _cell()
        if cell:
            write(f"\n{cell}\n")
        try:
            chosen = HydraConfig.get()
            refuse_lists(chosen.runtime.choices, chosen.overrides.task)
            config = parse(cfg)
        except AnimaError as error:
            report(error, f"{cell}: " if cell else "", reported=_reported_by_another())
            return None
        try:
            with permissions(), listening(TerminalView()):
                return work(config)
        except RunInterrupted as error:  # all of it is to stop, not this cell alone
            report(error)
            _pass_on(error.exit_status - 128)
            sys.exit(error.exit_status)
        except (AnimaError, RunEnded) as error:
            report(error, f"{cell}: " if cell else "")
            return None

    try:
        with permissions(), listening(TerminalView()):
            options, settings = split_options(expand(composable(sys.argv[1:])))
        sys.argv[1:] = [*options, *settings]
        folder = str(shipped("conf"))
        descriptions = with_descriptions(options, schema)
        with store_not_copied(), descriptions, listening(TerminalView()):
            hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(task)()
    except (AnimaError, RunEnded, HydraException, OmegaConfBaseException) as error:
        report(error, reported=_reported_by_another())
    except (ValueError, AssertionError) as error:  # Hydra's answers to a few overrides
        if not answers_an_override(error):
            raise
        report(error, reported=_reported_by_another())
    except KeyboardInterrupt:  # outside training: see stop_on_signals
        print_stderr("interrupted. Run the same command again to resume.")
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

    def place(match: re.Match[str]) -> str:
        key = match["key"] or match["unknown"]
        file = None if key in given else yaml_files.setting(key)
        return f"{match['cell']}In {file}: " if file else match["cell"]

    return _ABOUT.sub(place, message)


def _reported_by_another() -> bool:
    """Return whether another process prints a mistake in the settings, which all of them make.

    Under torchrun one process on each machine does.
    """
    try:
        return rank_info().local_rank > 0
    except ConfigError:  # what the launcher says cannot be, and that is the mistake
        return False


def _pass_on(number: int) -> None:
    """Raise a scheduler's signal again after the checkpoint, so that the job is requeued."""
    if number in SCHEDULER_SIGNALS:
        signal.raise_signal(number)


def _terminated(number: int, _: object) -> NoReturn:
    print_stderr("terminated. Run the same command again to resume.")
    sys.exit(128 + number)


def _cell() -> str:
    """Return the number and the overrides of this job, if it is part of a sweep."""
    settings = HydraConfig.get()
    if settings.mode is not RunMode.MULTIRUN:
        return ""
    return f"#{settings.job.num} {' '.join(settings.overrides.task)}"


def reject_unknown(node: object, path: str = "") -> None:
    """Raise ConfigError for a key that no dataclass has, because Hydra accepts any `+key=value`."""
    if not isinstance(node, DictConfig):
        return
    schema = OmegaConf.get_type(node)
    known = getattr(schema, "__dataclass_fields__", None)
    for key in map(str, node):
        if known is not None and key not in known:
            raise ConfigError(unknown_setting(f"{path}{key}"))
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            reject_unknown(node[key], f"{path}{key}.")
