"""Offer the files sweeps/NAME.yaml as choices of Hydra's group `sweep`, read when chosen.

As nodes of Hydra's ConfigStore all files would be read at every start, which takes a quarter of a
second.
"""

import re
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from anima_exp.cli import yaml_files
from anima_exp.config.program_settings import todays_file
from anima_exp.system.paths import shipped

BY_HAND = "by_hand"  # a sweep without a file: -m seed=1,2,3


def names() -> list[str]:
    """Return the choices of `sweep=`, by_hand first."""
    return [BY_HAND, *sorted(path.stem for path in shipped("sweeps").glob("*.yaml"))]


def offer() -> None:
    """Register the group with Hydra, in this process only, before it composes anything."""
    yaml_files.offer()
    for plugin in (SweepFiles, SweepFilesOnPath):
        Plugins.instance().register(plugin)


def question(sweep: str, cfg: DictConfig) -> str | None:
    """Return the question in the first line of a sweep's file; None for a sweep by hand."""
    file = file_of(sweep, cfg)
    if file is None:
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = (line.lstrip("# ") for line in lines if line.startswith("# "))
    first = next((line for line in comments if not line.startswith("@")), None)
    return first and re.sub(r" +\d+ jobs\.$", "", first)


def file_of(sweep: str, cfg: DictConfig) -> Path | None:
    """Return the file of a sweep; None for a sweep by hand."""
    folders = [
        Path(source.path) / "sweep"  # --config-dir FOLDER
        for source in cfg.hydra.runtime.config_sources
        if source.schema == "file"
    ]
    files = (folder / f"{sweep}.yaml" for folder in (*folders, shipped("sweeps")))
    return next((file for file in files if file.is_file()), None)


class SweepFiles(ConfigSource):
    """A config source for Hydra with one group, whose choices may set any setting."""

    @staticmethod
    def scheme() -> str:
        return "sweeps"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in ("", "sweep")

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group == "sweep" and name in names()

    def load_config(self, config_path: str) -> ConfigResult:
        name = Path(config_path).stem
        file = shipped("sweeps") / f"{name}.yaml"
        with yaml_files.mistakes_in(file):
            config = OmegaConf.create() if name == BY_HAND else OmegaConf.load(file)
        config, _ = todays_file(config, "")
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=config,
            header={"package": "_global_"},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path.strip("/") == "":
            return [] if results_filter is ObjectType.CONFIG else ["sweep"]
        return [] if results_filter is ObjectType.GROUP else sorted(names())


class SweepFilesOnPath(SearchPathPlugin):
    """Add the source to Hydra's search path, after a --config-dir of the user."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("schema", "sweeps://")  # Hydra puts --config-dir before its "schema"
