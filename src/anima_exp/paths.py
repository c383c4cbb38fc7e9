"""Where things are: the files we ship, and the caches we keep on the user's disk."""

import os
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
