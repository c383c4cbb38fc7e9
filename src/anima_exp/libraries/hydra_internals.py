"""The parts of Hydra that we use although its documentation does not promise them.

They are those of Hydra 1.3, the only release that pyproject.toml allows. Each function says what
it uses and what a change of it would break; tests/contracts/test_hydra.py checks every one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigSource
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer

# FileConfigSource is the base of ours (cli/yaml_files.py), which changes `load_config` alone. The
# classes of the grammar say what an override is: without them a sweep cannot list its values.
__all__ = [
    "FileConfigSource", "IntervalSweep", "Override", "OverridesParser", "RangeSweep", "Sweep",
    "config_loader", "overrides_parser", "plain_parser", "read_files_with", "registries_lent",
    "store_not_copied", "sweep_config",
]  # fmt: skip


def overrides_parser(loader: ConfigLoader | None = None) -> OverridesParser:
    """Return the parser of Hydra's grammar, `lora.rank=8,16` and the like.

    It is `hydra.core.override_parser`, which Hydra's own sweepers use and no page documents.

    Args:
        loader: resolves `glob(...)`, which lists the files of a group.
    """
    return OverridesParser.create(config_loader=loader)


@cache
def plain_parser() -> OverridesParser:
    """Return the parser that knows no files, for single values."""
    return overrides_parser()


def sweep_config(loader: ConfigLoader, master: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Compose the config of one cell of the sweep whose own config is `master`.

    It is `ConfigLoader.load_sweep_config`, which Hydra's launchers call for each job.
    """
    return loader.load_sweep_config(master, list(overrides))


def read_files_with(source: type[ConfigSource]) -> None:
    """Make Hydra read files of `file://` sources through `source`, in this program alone.

    It replaces an entry of `SourcesRegistry.types`. Hydra refuses to replace an entry by a class
    of another name, so `source` must be called FileConfigSource.
    """
    Plugins.instance()  # which registers Hydra's own source of files
    SourcesRegistry.instance().types[source.scheme()] = source


@contextmanager
def store_not_copied() -> Iterator[None]:
    """Make Hydra share its ConfigStore inside instead of copying it, which takes over a second.

    It copies its config sources, and with them the store, for each line of --help. Nothing changes
    the store meanwhile. Another Hydra program of this process keeps its copies. If Hydra no longer
    copies the store, this has no effect.
    """
    store: Any = ConfigStore
    store.__deepcopy__ = lambda shared, _: shared
    try:
        yield
    finally:
        del store.__deepcopy__


@contextmanager
def registries_lent() -> Iterator[None]:
    """Forget afterwards what is registered inside, so that no other Hydra program sees it.

    Hydra keeps its config store, plug-ins and sources in `Singleton._instances`, and OmegaConf
    keeps its resolvers in `BaseContainer._resolvers`. Inside, both are copies. They hold what is
    registered already; the state of a running Hydra program (GlobalHydra, HydraConfig and the
    version base) is not among them, and is untouched.

    The registries belong to the whole process: only one thread at a time may be inside.
    """
    Plugins.instance()  # its first scan may import plug-ins of others, which register themselves
    instances, resolvers = Singleton._instances, BaseContainer._resolvers
    kept = (ConfigStore, Plugins, SourcesRegistry)
    copies: dict[type, Any] = {kind: _copied(instances[kind]) for kind in kept if kind in instances}
    Singleton._instances = copies
    BaseContainer._resolvers = dict(resolvers)
    try:
        setup_globals()  # Hydra's own resolvers: now, hydra, python_version
        version.setbase("1.3")
        yield
    finally:
        Singleton._instances = instances
        BaseContainer._resolvers = resolvers


def _copied(registry: object) -> Any:
    """Copy a registry with its tables and lists, but not what they hold."""

    def copied(value: object) -> Any:
        if isinstance(value, dict):
            same = copy(value)
            same.update((key, copied(inner)) for key, inner in value.items())
            return same
        return copy(value) if isinstance(value, list) else value

    made = copy(registry)
    vars(made).update((name, copied(value)) for name, value in vars(registry).items())
    return made


def config_loader(folder: Path, extra: Path | None = None) -> ConfigLoader:
    """Return the loader of the configs in `folder`, without a global Hydra.

    It is what `hydra.initialize_config_dir` makes. That function refuses to work while another
    Hydra program runs, and takes no second folder.

    Args:
        extra: searched too, as with the option --config-dir.
    """
    search_path = create_config_search_path(str(folder))
    if extra is not None:
        schema = SearchPathQuery(provider="schema")
        search_path.prepend(provider="command-line", path=f"file://{extra}", anchor=schema)
    return ConfigLoaderImpl(config_search_path=search_path)
