"""Command line -> RunConfig: the schema, sweeps/ as a group, and one line for a user's mistake."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anima_exp.checks import check
from anima_exp.config import RunConfig
from anima_exp.errors import AnimaError, ConfigError
from anima_exp.messages import explain, known_mistake, unknown_setting
from anima_exp.paths import shipped


def install() -> None:
    """Give Hydra the schema and the group `sweep`. Call once, before it composes anything."""
    # ${unless:${trainer.epochs},${data.steps}}: data.steps, unless trainer.epochs has a value.
    OmegaConf.register_new_resolver(
        "unless", lambda given, otherwise: otherwise if given is None else None, replace=True
    )
    store = ConfigStore.instance()
    store.store(name="schema", node=RunConfig)
    store.store(group="sweep", name="by_hand", node={}, package="_global_")  # -m seed=1,2,3
    for path in sorted(shipped("sweeps").glob("*.yaml")):
        store.store(group="sweep", name=path.stem, node=OmegaConf.load(path), package="_global_")


def parse(cfg: DictConfig) -> RunConfig:
    """Hydra's config as checked, plain dataclasses. Below this line nobody imports Hydra.

    Raises:
        ConfigError: a setting is unknown, missing, or contradicts another.
    """
    _reject_unknown(cfg)
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    assert isinstance(config, RunConfig)
    check(config)
    return config


def command(work: Callable[[RunConfig], Any]) -> None:
    """Run `work` as a program: compose its config from sys.argv, check it, call it.

    Hydra prints the user's mistakes over several lines and advises `+key=value`, which would
    smuggle a typo in. So its errors are taken whole (HYDRA_FULL_ERROR) and said in one line;
    a bug still shows its traceback.
    """
    install()
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    mistakes: list[Exception] = []

    def task(cfg: DictConfig) -> Any:
        try:
            return work(parse(cfg))
        except AnimaError as error:  # kept from Hydra, which would print more lines
            mistakes.append(error)
            return None

    try:
        hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="train")(
            task
        )()
    except (HydraException, OmegaConfBaseException) as error:
        mistakes.append(error)
    except (ValueError, AssertionError) as error:  # Hydra's answers to a few overrides
        if not known_mistake(error):
            raise
        mistakes.append(error)
    except KeyboardInterrupt:  # before training; then training/stop.py takes over
        print("anima_exp: stopped.", file=sys.stderr)
        sys.exit(130)
    for mistake in mistakes:
        if full_error:
            traceback.print_exception(mistake)
        print(f"anima_exp: {explain(mistake)}", file=sys.stderr)
    if mistakes:
        sys.exit(getattr(mistakes[0], "exit_status", 1))


def _reject_unknown(node: Any, path: str = "") -> None:
    # Hydra lets `+key=value` past the schema and hands it on as a stray attribute.
    if not isinstance(node, DictConfig):
        return
    schema = OmegaConf.get_type(node)
    known = getattr(schema, "__dataclass_fields__", None)
    for key in map(str, node):
        if known is not None and key not in known:
            raise ConfigError(unknown_setting(f"{path}{key}"))
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            _reject_unknown(node[key], f"{path}{key}.")
