"""Find out whether W&B can be used online: is a key stored, and does its server answer?

No key is read further than to see that it exists. The places are those where `wandb login` and
the environment put one; each release of wandb has its own default server.
"""

import configparser
import netrc
import os
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from anima_exp.system.paths import known_path

# W&B's own cloud, by all its names: a key for one is a key for all.
_CLOUD = ("api.wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com")
_REACH_SECONDS = 5.0


def has_key() -> bool:
    """Return whether `wandb login` or the environment left a key for the server in use."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    if _setting("api_key"):
        return True
    file = _netrc_file()
    try:
        known = netrc.netrc(str(file))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    return any((known.authenticators(name) or ("", "", ""))[2] for name in _machines())


def chosen_mode() -> str | None:
    """Return the mode that WANDB_MODE, or `wandb offline` in its settings file, asks for."""
    return os.environ.get("WANDB_MODE") or _setting("mode")


def unreachable(default: str = f"https://{_CLOUD[0]}") -> str | None:
    """Return why W&B's server does not answer, or None if it does: within a few seconds.

    Args:
        default: the server of the installed wandb, if the user chose none.
    """
    url = server() or default
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(url)), daemon=True)
    asking.start()  # name resolution has no time limit of its own
    asking.join(_REACH_SECONDS)
    return answers[0] if answers else f"no answer within {_REACH_SECONDS:g} s"


def server() -> str | None:
    """Return the server that the user chose; None for the cloud of the installed wandb."""
    return os.environ.get("WANDB_BASE_URL") or _setting("base_url")


def without_keys(text: str) -> str:
    """Replace what could be a key: no message of a library is trusted to hold none."""
    if given := os.environ.get("WANDB_API_KEY"):
        text = text.replace(given, "***")
    return re.sub(r"\bwandb_v\d+_\w+|\b[0-9a-f]{40}\b|(?<=://)[^/@\s]+@", "***", text)


def _ask(url: str) -> str | None:
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_REACH_SECONDS):
            return None
    except OSError as error:
        if hasattr(error, "code"):  # an answer, be it that there is no such page
            return None
        return str(getattr(error, "reason", error))
    except ValueError as error:  # no URL
        return str(error)


def _machines() -> list[str]:
    """Return the names that a key for the server in use may be stored under."""
    url = server()
    if not url:
        return list(_CLOUD)
    parts = urlsplit(url if "://" in url else f"https://{url}")
    names = [parts.netloc.rpartition("@")[2], parts.hostname or ""]
    return [*names, *_CLOUD] if parts.hostname in _CLOUD else names


def _netrc_file() -> Path:
    if given := os.environ.get("NETRC"):
        return known_path(given)
    files = [known_path("~/.netrc"), known_path("~/_netrc")]
    return next((file for file in files if file.exists()), files[0])


def _setting(key: str) -> str | None:
    """Return a setting from W&B's own files, of the folder of the start before the user's."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    own = known_path(os.environ.get("WANDB_DIR") or ".")
    for file in (own / "wandb" / "settings", known_path(folder) / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if parser.has_option("default", key):
            return parser.get("default", key)
    return None
