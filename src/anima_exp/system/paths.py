"""Find the files that the package ships, the cache folder, and the paths that users give."""

import os
import stat
from pathlib import Path

from anima_exp.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(folder: str) -> Path:
    """`conf` or `sweeps`: inside an installed wheel, else at the top of the checkout."""
    inside = _PACKAGE / folder
    return inside if inside.is_dir() else _PACKAGE.parents[1] / folder


def tiny_base() -> Path:
    """The embedded base model, which ships inside the package."""
    return _PACKAGE / "tiny" / "base"


def expanded(path: str | Path, key: str = "") -> Path:
    """`~/runs` -> the folder in the user's home; any other path as it is.

    Args:
        key: the setting that gave the path (`data.path`), which opens the error message.

    Raises:
        ConfigError: this process has no home folder, or `~name` names no user.
    """
    if not str(path).startswith("~"):  # Path drops the ./ of ./~draft.json, which keeps it a name
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
    """A path that some file names; `~name` stays as it is where there is no such user here."""
    try:
        return expanded(place)
    except ConfigError:
        return Path(place)


def cache(setting: str | None = None) -> Path:
    """The folder for things that can always be computed again (token ids, quantised bases).

    `setting` (the config's `cache_dir`) wins over ANIMA_EXP_CACHE, which wins over XDG_CACHE_HOME.
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
            "There is no home folder for the cache. Give cache_dir=FOLDER, or set ANIMA_EXP_CACHE."
        ) from error


def is_file(path: Path) -> bool:
    """Whether there is such a file.

    Path.is_file of Python 3.14 says no for a file in a folder that this user may not search.

    Raises:
        PermissionError: such a folder.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether there is such a folder. Raises PermissionError as `is_file` does."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except PermissionError:
        raise
    except (OSError, ValueError):  # ValueError: no path at all, with a zero byte in it
        return 0
