"""Download a file of questions into the cache, once, and keep it only if it can be read."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from anima_exp.data import readers
from anima_exp.errors import DataError

SECONDS = 60.0  # for all of it
MOST_BYTES = 64 * 2**20  # a list of questions has kilobytes


def is_url(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))


def fetch(
    url: str,
    *,
    key: str,
    cache: Path,
    check: Callable[[Path], Any],
    seconds: float = SECONDS,
    most_bytes: int = MOST_BYTES,
) -> Path:
    """The file of `url` in `cache`: from the network the first time, and never again.

    Args:
        key: the setting that holds the URL; it opens the error message.
        check: raises DataError for a file that is not to be kept.

    Raises:
        DataError: it cannot be fetched, is too large, or `check` refuses it.
    """
    ending = (
        readers.known_suffix(Path(urlsplit(url).path)) or ".json"
    )  # which may hold lines as well
    folder = cache / "questions"
    file = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}{ending}"
    if file.is_file():
        return file
    try:
        content = _in_time(url, seconds=seconds, most_bytes=most_bytes)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"{key}={url} cannot be downloaded: {_reason(error, seconds)}. "
            f"Save it as a file and use {key}=FILE."
        ) from error
    # Named by the process, for several may fetch the same file at once.
    draft = folder / f"{os.getpid()}.{file.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        try:
            check(draft)
        except DataError as error:
            page = " It is a web page. Give the URL of the file itself."
            is_page = content.lstrip()[:1] == b"<"
            raise DataError(f"{error}{page if is_page else ''}") from error
        draft.replace(file)
    except OSError as error:
        raise DataError(
            f"Cannot write to {folder}: {error.strerror}. Choose another cache_dir=FOLDER."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return file


def _in_time(url: str, *, seconds: float, most_bytes: int) -> bytes:
    """The content of `url`, or TimeoutError after `seconds`.

    In a thread of its own: the timeout of a socket is one of silence, and a server that sends its
    headers letter by letter is never silent.
    """
    ended: SimpleQueue[bytes | Exception] = SimpleQueue()

    def work() -> None:
        try:
            ended.put(_content(url, seconds=seconds, most_bytes=most_bytes))
        except Exception as error:
            ended.put(error)

    Thread(target=work, daemon=True).start()
    try:
        found = ended.get(timeout=seconds)
    except Empty as error:
        raise TimeoutError from error
    if isinstance(found, Exception):
        raise found
    return found


def _content(url: str, *, seconds: float, most_bytes: int) -> bytes:
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(url, headers={"User-Agent": "anima_exp"})
    content = b""
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        # Piece by piece: the timeout is one of silence, and a slow server is never silent.
        while piece := answer.read1(2**16):
            content += piece
            if len(content) > most_bytes:
                raise ValueError(f"it is larger than {most_bytes / 2**20:.0f} MiB")
            if time.monotonic() > deadline:
                raise TimeoutError
        if answer.length:  # read1 ends quietly where the connection does
            raise http.client.IncompleteRead(content, answer.length)
    return content


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
        return f"the server responded {error.code} {error.reason}".rstrip()
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"no complete response within {seconds:.0f} s"
    lines = str(getattr(cause, "strerror", None) or cause).splitlines()
    return lines[0] if lines else type(error).__name__
