"""Check evals.custom and evals.benchmarks, which are tables with names of the user's choice.

A custom evaluation is a dotted path, or a table with `function` and its options. A benchmark has
the settings of a MultipleChoiceConfig. Code of the user is not imported here.
"""

import re
from dataclasses import fields, replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anima_exp.cli.error_messages import explain_error
from anima_exp.config import MultipleChoiceConfig, RunConfig
from anima_exp.config.catalogue import check_limits
from anima_exp.config.evals import FUNCTION, TAKEN
from anima_exp.config.lookup import closest
from anima_exp.errors import ConfigError


def with_own_evals(config: RunConfig) -> RunConfig:
    """Return the config with both tables in their full form.

    Raises:
        ConfigError: if a name or a setting in them is invalid.
    """
    custom, benchmarks = config.evals.custom, config.evals.benchmarks
    if not custom and not benchmarks:
        return config
    for group, names in (("custom", custom), ("benchmarks", benchmarks)):
        for name in names:
            _check_name(f"evals.{group}", str(name))
    if both := sorted({*custom} & {*benchmarks}):
        raise ConfigError(
            f"evals.custom.{both[0]} and evals.benchmarks.{both[0]} have the same name, so their "
            "scores could not be distinguished. Rename one of them."
        )
    evals = replace(
        config.evals,
        custom={name: _function(name, given) for name, given in custom.items() if given},
        benchmarks={name: _benchmark(name, given) for name, given in benchmarks.items() if given},
    )
    return replace(config, evals=evals)


def _check_name(group: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ConfigError(
            f"{group}.{name}: the name of a score consists of letters, digits and '_', and starts "
            "with a letter. Rename it."
        )
    if name in TAKEN:
        raise ConfigError(f"{group}.{name}: every run already has a score named {name}. Rename it.")


def _function(name: str, given: object) -> dict[str, Any]:
    key = f"evals.custom.{name}"
    table = dict(given) if isinstance(given, dict) else {FUNCTION: given}
    if FUNCTION not in table:
        close = next((one for one in table if closest(str(one), [FUNCTION])), None)
        hint = f"Did you mean '{FUNCTION}' by '{close}'?" if close else f"Give {key}.{FUNCTION}=..."
        raise ConfigError(f"{key} names no function. {hint}")
    path = table[FUNCTION]
    if not isinstance(path, str) or not re.fullmatch(r"[\w-]+(\.[\w-]+)+", path):
        where = f"{key}.{FUNCTION}" if isinstance(given, dict) else key
        raise ConfigError(
            f"{where}={path} is not a dotted path to a function. "
            "Write my_package.my_module.my_function."
        )
    return {FUNCTION: path, **{str(option): value for option, value in table.items()}}


def _benchmark(name: str, given: object) -> MultipleChoiceConfig:
    key = f"evals.benchmarks.{name}"
    if isinstance(given, str):
        given = {"source": given}
    if not isinstance(given, dict):
        raise ConfigError(f"{key}={given} is not a table of settings. Give {key}.path=FOLDER.")
    known = [field.name for field in fields(MultipleChoiceConfig)]
    for setting in given:
        if setting not in known:
            close = closest(str(setting), known)
            hint = f"Did you mean '{key}.{close}'?" if close else f"Known here: {', '.join(known)}."
            raise ConfigError(f"There is no setting '{key}.{setting}'. {hint}")
    if not given.get("source") and not given.get("path"):
        raise ConfigError(
            f"{key} has no questions. Give {key}.path=FOLDER of CSV files, or {key}.source= a hub "
            "id or a dotted path to a Benchmark of your own."
        )
    begun = OmegaConf.structured(MultipleChoiceConfig(source="", prompt="mmlu"))
    try:
        result: MultipleChoiceConfig = OmegaConf.to_object(OmegaConf.merge(begun, given))  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}.{explain_error(error)}") from error
    check_limits(result, inside=f"{key}.")
    return result
