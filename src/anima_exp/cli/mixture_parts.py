"""Check data.parts, a table with names of the user's choice, and bring it into its full form."""

import re
from dataclasses import fields, replace
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from anima_exp.cli.error_messages import explain_error
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import check_limits
from anima_exp.config.lookup import closest
from anima_exp.config.mixture import MixturePart, part_key, part_of
from anima_exp.errors import ConfigError


def with_parts(config: RunConfig) -> RunConfig:
    """Return the config with each part of a mixture in its full form.

    A part that is null is left out, so that a command can switch off one that a file gives.

    Raises:
        ConfigError: if a name or a setting in a part is invalid.
    """
    given = {str(name): one for name, one in config.data.parts.items() if one is not None}
    if not config.data.parts:
        return config
    parts = {name: _part(name, given[name]) for name in sorted(given)}
    weighted = [name for name, part in parts.items() if part.weight is not None]
    if weighted and len(weighted) < len(parts):
        other = next(name for name in parts if name not in weighted)
        raise ConfigError(
            f"{part_key(other)} has no weight, but {part_key(weighted[0])}.weight="
            f"{parts[weighted[0]].weight:g}. Give every part a weight, or none of them."
        )
    return replace(config, data=replace(config.data, parts=parts))


def _part(name: str, given: Any) -> MixturePart:
    key = part_key(name)
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise ConfigError(
            f"{key}: the name of a part consists of letters, digits and '_', and starts with a "
            "letter, because it is part of the name of a score. Rename it."
        )
    if not isinstance(given, dict | MixturePart):
        raise ConfigError(f"{key}={given} is not a table of settings. Give {key}.path=FILE.")
    known = [field.name for field in fields(MixturePart)]
    for setting in given if isinstance(given, dict) else ():
        if setting not in known:
            close = closest(str(setting), known)
            hint = f"Did you mean '{key}.{close}'?" if close else f"Known here: {', '.join(known)}."
            raise ConfigError(f"There is no setting '{key}.{setting}'. {hint}")
    try:
        part = part_of(given)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}.{explain_error(error)}") from error
    check_limits(part, inside=f"{key}.")
    if part.path and part.source:
        raise ConfigError(
            f"{key}.path={part.path} and {key}.source={part.source} are both set, but a part has "
            "one source. Leave one out."
        )
    if not part.path and not part.source:
        raise ConfigError(f"{key} has no rows. Give {key}.path=FILE, or {key}.source=HUB_ID.")
    if part.heldout_path and part.heldout_split:
        raise ConfigError(
            f"{key}.heldout_path={part.heldout_path} and {key}.heldout_split={part.heldout_split} "
            "are both set, but held-out rows come from one of them. Leave one out."
        )
    return part
