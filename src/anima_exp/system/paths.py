"""Find the files that the package ships, the cache folder, and the paths that users give."""

import os
import stat
from pathlib import Path

from anima_exp.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(folder: str) -> Path:
    """Return the folder `conf` or `sweeps`, of the installed package or of the checkout."""
    inside = _PACKAGE / folder
    return inside if inside.is_dir() else _PACKAGE.parents[1] / folder


def tiny_base() -> Path:
    """Return the folder of the embedded base model."""
    return _PACKAGE / "tiny" / "base"


def expanded(path: str | Path, key: str = "") -> Path:
    """Return a path with `~` replaced by the user's home folder.

    Args:
        key: the setting that gave the path, for the error message.

    Raises:
        ConfigError: if this process has no home folder, or `~name` names no user.
    """
    if not str(path).startswith("~"):  # also ./~draft.json, from which Path removes the ./
        return Path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = str(path).partition("/")[0][1:]
        what = f"there is no user '{user}'" if user else "there is no home folder"
        given = f"{key}={path}" if key else f"{path}"
        raise ConfigError(
            f"{given}: {what}. Write the full path, or ./~NAME for a file whose name begins with ~."
        ) from error


def known_path(place: str) -> Path:
    """Return a path from a file. `~name` is kept if this machine has no such user."""
    try:
        return expanded(place)
    except ConfigError:
        return Path(place)


def cache(setting: str | None = None) -> Path:
    """Return the cache folder, for what can be computed again (token ids, quantized bases).

    `setting`, the config's `cache_dir`, has priority over ANIMA_EXP_CACHE and XDG_CACHE_HOME.
    """
    if setting:
        return expanded(setting, "cache_dir")
    if own := os.environ.get("ANIMA_EXP_CACHE"):
        return expanded(own, "ANIMA_EXP_CACHE")
    if base := os.environ.get("XDG_CACHE_HOME"):
        return expanded(base, "XDG_CACHE_HOME") / "anima_exp"
    try:
        return Path("~/.cache/anima_exp").expanduser()
    except RuntimeError as error:
        raise ConfigError(
            "There is no home folder for the cache. Set cache_dir=FOLDER or ANIMA_EXP_CACHE."
        ) from error


def is_file(path: Path) -> bool:
    """Return whether a file exists.

    Unlike Path.is_file of Python 3.14, it does not return False if permissions are missing.

    Raises:
        PermissionError: if this user may not search a folder of the path.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether a folder exists. Raises PermissionError like `is_file`."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except PermissionError:
        raise
    except (OSError, ValueError):  # ValueError: the path contains a zero byte
        return 0
