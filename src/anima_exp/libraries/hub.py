"""Find out whether a repository or a file exists on the hub. No other module does.

One quick request decides whether the hub can be reached. The process keeps the answer, so that
a machine without a network gets its error after a moment and not after a dozen retries.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from anima_exp.errors import AnimaError, DataError, ModelError, first_line
from anima_exp.events import warn
from anima_exp.libraries.datasets_internals import prepared_before
from anima_exp.libraries.huggingface_hub_internals import offline

_REACH_SECONDS = 3.0  # for the first question: name resolution, connection and answer together
_SECONDS = 10.0  # for an answer of a hub that can be reached
_KEPT_SECONDS = 60.0  # a network that was gone may be back later, in a notebook

_OFFLINE = "HF_HUB_OFFLINE is set"

_unreachable_since: tuple[float, str] | None = None
_reached = False


def is_id(place: str) -> bool:
    """Return whether `place` has the form of a hub id: `owner/name`."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", place) is not None


def unreachable() -> str | None:
    """Return why the hub cannot be reached now, or None if it answers.

    It sends at most one request a minute, and takes `_REACH_SECONDS` at most. Name resolution has
    no time limit of its own, so the request runs in a thread that is abandoned at the limit.
    """
    global _unreachable_since, _reached
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return _OFFLINE
    if _reached:
        return None
    if _unreachable_since and time.monotonic() - _unreachable_since[0] < _KEPT_SECONDS:
        return _unreachable_since[1]
    answers: list[str | None] = []
    limit = max(_REACH_SECONDS, float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or 0))
    asking = threading.Thread(target=lambda: answers.append(_ask(limit)), daemon=True)
    asking.start()
    asking.join(limit)
    reason = answers[0] if answers else f"no answer within {limit:g} s"
    if reason is None:
        _reached = True
        return None
    reason = f"the hub cannot be reached ({_host()}: {reason})"
    _unreachable_since = (time.monotonic(), reason)
    return reason


def _ask(limit: float) -> str | None:
    """Return why the hub's server does not answer, or None: any answer will do."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    try:
        session: Any = get_session()
        session.request("HEAD", constants.ENDPOINT, timeout=limit, follow_redirects=False)
        return None
    except Exception as error:  # each release of the library has others for a missing network
        return re.sub(r"^\[Errno -?\d+\] ", "", first_line(error)).rstrip(".")


def _host() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT.partition("://")[2].rpartition("@")[2] or constants.ENDPOINT


@contextmanager
def no_retries(place: str) -> Iterator[None]:
    """Let the libraries read `place` from their caches at once if the hub cannot be reached.

    If `place` is a folder, the hub is not tried.
    """
    from huggingface_hub import constants

    if Path(place).is_dir() or constants.HF_HUB_OFFLINE or unreachable() is None:
        yield
        return
    with offline():
        yield


def file(place: str, name: str, *, where: str, revision: str | None = None) -> Path | None:
    """Return the file `name` of the repository `place`, in the hub's cache; None if it has none.

    Args:
        where: `adapter=org/name`, the setting; it opens the error message.

    Raises:
        ModelError: if there is no such repository, or neither a network nor an earlier download.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        reason = _trouble(place, name, where=where, revision=revision, error=ModelError)
        if reason is None:
            # The file's metadata came, so these are no long waits; each has its time limit.
            result = hf_hub_download(place, name, revision=revision, etag_timeout=_SECONDS)
            return Path(result)
    except EntryNotFoundError:
        return None
    except AnimaError:
        raise
    except Exception as error:
        reason = f"the download failed ({first_line(error)})"
    if not any(_cached(place, known, revision) for known in (name, *_KNOWN)):
        raise ModelError(
            f"{where}: no such folder, and {reason}. Use a folder, or connect to a network."
        )
    if reason != _OFFLINE:  # which the user chose
        _once(f"{where}: {reason}; an earlier download is used.")
    return _cached(place, name, revision)


def check_data_set(place: str, *, where: str, way_out: str, revision: str | None = None) -> None:
    """Raise DataError if the hub has no such data set, before `datasets` is imported.

    Args:
        where: `data.source=org/name`, the setting; it opens the error message.
        way_out: what to give without a network.
    """
    from huggingface_hub.errors import EntryNotFoundError

    try:
        reason = _trouble(
            place, "README.md", where=where, revision=revision, error=DataError, kind="dataset"
        )
    except EntryNotFoundError:  # a data set without a README.md
        return
    if reason is None:
        return
    if not prepared_before(place):
        raise DataError(f"{where}: no such folder, and {reason}. {way_out}")
    if reason != _OFFLINE:
        _once(f"{where}: {reason}; an earlier download is used.")


def _trouble(
    place: str,
    name: str,
    *,
    where: str,
    revision: str | None,
    error: type[AnimaError],
    kind: str | None = None,
) -> str | None:
    """Return why the hub does not answer for this file, or None if the file exists.

    Raises:
        EntryNotFoundError: if the repository exists and has no such file.
        AnimaError: of type `error`, if there is no such repository or the user may not read it.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        url = hf_hub_url(place, name, revision=revision, repo_type=kind)
        if reason := unreachable():
            return reason
        # A single request: hf_hub_download by itself retries for half a minute.
        get_hf_file_metadata(url, timeout=_SECONDS)
        return None
    except EntryNotFoundError:
        raise
    except HFValidationError as wrong:
        raise error(f"{where}: there is no such folder, and it is not a hub id.") from wrong
    except GatedRepoError as wrong:
        raise error(
            f"{where} requires your consent. Accept its licence on the hub and run `hf auth login`."
        ) from wrong
    except RepositoryNotFoundError as wrong:
        raise error(
            f"{where}: no such folder, and the hub has no such repository, or it is private "
            "(`hf auth login`). Check the id."
        ) from wrong
    except RevisionNotFoundError as wrong:
        raise error(
            f"{where}: the hub has no revision {revision} of it. Check the revision."
        ) from wrong
    except Exception as wrong:
        if isinstance(wrong, OfflineModeIsEnabled):
            return _OFFLINE
        if isinstance(wrong, HfHubHTTPError):
            return f"the hub answered with an error ({first_line(wrong)})"
        return f"the hub cannot be reached ({_host()}: {first_line(wrong)})"


_KNOWN = ("adapter_config.json", "config.json")  # one of them shows that there was a download


def downloaded(place: str, name: str, revision: str | None = None) -> Path | None:
    """Return a file of a repository if it was downloaded before, without a request."""
    from huggingface_hub.errors import HFValidationError

    try:
        return _cached(place, name, revision)
    except HFValidationError:
        return None


def _cached(place: str, name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    result = try_to_load_from_cache(place, name, revision=revision)
    return Path(result) if isinstance(result, str) else None


@cache
def _once(text: str) -> None:
    warn(text)
