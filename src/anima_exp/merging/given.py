"""Check what a merge is given, before torch is imported."""

from anima_exp.config import MergeConfig
from anima_exp.errors import ConfigError
from anima_exp.system.paths import expanded


def check_given(config: MergeConfig) -> None:
    """Raise ConfigError if the adapter or the folder is missing, or the folder is not empty."""
    if not (config.run or config.adapter):
        raise ConfigError("Which adapter? Give run=FOLDER, or adapter=FOLDER_OR_HUB_ID.")
    if not config.out:
        raise ConfigError("Where to? Give out=FOLDER, which must not exist yet.")
    out = expanded(config.out, "out")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(
            f"out={config.out} already exists and is not overwritten. Give another folder, or "
            "remove it."
        )
