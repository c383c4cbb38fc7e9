"""Where things are: the files we ship, and the caches we keep on the user's disk."""

import os
import stat
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """`conf` or `sweeps`: inside an installed wheel, else at the top of the checkout."""
    inside = _PACKAGE / folder
    return inside if inside.is_dir() else _PACKAGE.parents[1] / folder


def tiny_base() -> Path:
    """The embedded base model, which ships inside the package."""
    return _PACKAGE / "tiny" / "base"


def cache(setting: str | None = None) -> Path:
    """The folder for things that can always be computed again (token ids, quantised bases).

    `setting` (the config's `cache`) wins over ANIMA_EXP_CACHE, which wins over XDG_CACHE_HOME.
    """
    if setting:
        return Path(setting).expanduser()
    if own := os.environ.get("ANIMA_EXP_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "anima_exp"


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
