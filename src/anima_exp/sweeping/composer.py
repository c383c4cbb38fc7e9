"""Compose the configs of thousands of cells, with one Hydra composition per choice of groups.

A composition reads and merges a dozen YAML files (0.2 s). The cells of a grid differ mostly in
plain values, which Hydra sets after composing. So one composition serves all cells that choose the
same groups and set the same keys.
"""

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from anima_exp.cli.compose import finish, reject_unknown
from anima_exp.cli.error_messages import explain_error
from anima_exp.cli.overrides import refuse_lists
from anima_exp.config import RunConfig
from anima_exp.config.program_settings import settings
from anima_exp.errors import ConfigError
from anima_exp.libraries.hydra_errors import answers_an_override
from anima_exp.libraries.hydra_internals import Override, overrides_parser, sweep_config
from anima_exp.sweeping.expand import Point


@dataclass
class _Base:
    # All cells of this base set the same keys, so no cell sees another cell's values.
    cfg: DictConfig
    own: DictConfig  # without products: the values that multipliers multiply


class Composer:
    """Compose the cells of one sweep, whose settings are `master`."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._bases: dict[Any, _Base] = {}
        parser = overrides_parser(loader)

        @cache
        def parsed(override: str) -> Override:
            return parser.parse_override(override)

        self._parsed = parsed

    def compose(self, point: Point) -> tuple[tuple[str, ...], RunConfig]:
        """Return the cell's overrides, with its multipliers applied, and its checked config.

        Raises:
            ConfigError: if the overrides are invalid, as on any command line.
        """
        groups = tuple(text for text in point.overrides if not self._is_value(text))
        values = tuple(text for text in point.overrides if text not in groups)
        try:
            base = self._base(groups, values, [key for key, _ in point.multipliers])
            try:
                self._set(base.cfg, values)
            except OmegaConfBaseException:  # Hydra says which override was wrong
                self._load(point.overrides)
                raise
            products: tuple[str, ...] = ()
            if point.multipliers:
                self._set(base.own, values)
                products = tuple(
                    f"{k}={_times(_own(base.own, k), f)}" for k, f in point.multipliers
                )
                self._set(base.cfg, products)
            return (*point.overrides, *products), finish(base.cfg)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain_error(error)) from error
        except (ValueError, AssertionError) as error:  # Hydra's answers to a few overrides
            if not answers_an_override(error):
                raise
            raise ConfigError(explain_error(error)) from error

    def _is_value(self, text: str) -> bool:
        override = self._parsed(text)
        plain = not (override.is_add() or override.is_delete() or override.package)
        return plain and override.key_or_group in _plain_settings()

    def _set(self, cfg: DictConfig, overrides: Iterable[str]) -> None:
        for override in map(self._parsed, overrides):
            OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)

    def _base(
        self, groups: tuple[str, ...], values: Iterable[str], multipliers: list[str]
    ) -> _Base:
        keys = frozenset([*multipliers, *(self._parsed(text).key_or_group for text in values)])
        if (groups, keys) not in self._bases:
            cfg = self._load(groups)
            reject_unknown(cfg)
            resolve_constants(cfg, keys)
            self._bases[groups, keys] = _Base(cfg, deepcopy(cfg))
        return self._bases[groups, keys]

    def _load(self, overrides: tuple[str, ...]) -> DictConfig:
        cfg = sweep_config(self._loader, self._master, overrides)
        refuse_lists(cfg.hydra.runtime.choices, cfg.hydra.overrides.task)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg


def resolve_constants(cfg: DictConfig, keys: frozenset[str]) -> None:
    """Replace each `${...}` in `cfg` by its value, unless a setting in `keys` can change it.

    Resolving interpolations would take most of the time of a cell.
    """
    texts = dict(_interpolations(OmegaConf.to_container(cfg, resolve=False)))

    def touched(path: str) -> bool:
        names = re.findall(r"[\w.]+", texts[path])
        nested = (touched(name) for name in names if name in texts and name != path)
        return any(_overlap(name, key) for name in names for key in keys) or any(nested)

    for path in texts:
        if path not in keys and not touched(path):
            OmegaConf.update(cfg, path, OmegaConf.select(cfg, path), merge=False)


def _interpolations(node: object, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _interpolations(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, str) and "${" in node:
        yield path, node


def _overlap(name: str, key: str) -> bool:
    """Return whether the two keys are equal or one contains the other."""
    return f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.")


@cache
def _plain_settings() -> frozenset[str]:
    """Return the settings that are values, not groups of settings."""
    return frozenset(
        key
        for key, hint in settings().items()
        if get_origin(hint) is not dict  # a table: setting it again would merge two cells'
        and not any(is_dataclass(kind) for kind in (hint, *get_args(hint)))
    )


def _own(cfg: DictConfig, key: str) -> int | float:
    value = OmegaConf.select(cfg, key) if key in _plain_settings() else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(
            f"multipliers of {key}: its value is {value}, which cannot be multiplied."
        )
    return value


def _times(value: int | float, factor: float) -> str:
    return str(max(1, round(value * factor))) if isinstance(value, int) else f"{value * factor:g}"
