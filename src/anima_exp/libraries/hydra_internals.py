"""The parts of Hydra that we use although its documentation does not promise them.

They are those of Hydra 1.3, the only release that pyproject.toml allows. Each function says what
it uses and what a change of it would break; tests/contracts/test_hydra.py checks every one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigSource
from omegaconf import DictConfig

# FileConfigSource is the base of ours (cli/yaml_files.py), which changes `load_config` alone. The
# classes of the grammar say what an override is: without them a sweep cannot list its values.
__all__ = [
    "FileConfigSource", "IntervalSweep", "Override", "OverridesParser", "RangeSweep", "Sweep",
    "overrides_parser", "plain_parser", "read_files_with", "store_not_copied", "sweep_config",
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
    """Let Hydra read the files of its `file://` sources through `source`, in this program alone.

    It replaces an entry of `SourcesRegistry.types`. Hydra refuses to replace an entry by a class
    of another name, so `source` must be called FileConfigSource.
    """
    Plugins.instance()  # which registers Hydra's own source of files
    SourcesRegistry.instance().types[source.scheme()] = source


@contextmanager
def store_not_copied() -> Iterator[None]:
    """Let Hydra share its ConfigStore where it copies it, which costs more than a second.

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
