"""Download a file of questions into the cache, once, and keep it only if it can be read.

pooch would not do: it limits neither the time nor the size of a download, and keeps the file before
it has been checked.
"""

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

SECONDS = 60.0  # for the whole download
MAX_BYTES = 64 * 2**20  # a list of questions has kilobytes


def is_url(text: str) -> bool:
    """Return whether a setting holds a URL."""
    return text.lower().startswith(("http://", "https://"))


def fetch(
    url: str,
    *,
    key: str,
    cache: Path,
    check: Callable[[Path], Any],
    seconds: float = SECONDS,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Return the file of `url` in the cache, and download it if it is not there.

    Args:
        key: the setting that holds the URL, for the error message.
        check: raises DataError if the file should not be kept.

    Raises:
        DataError: if the file cannot be downloaded, is too large, or `check` rejects it.
    """
    ending = (
        readers.known_suffix(Path(urlsplit(url).path)) or ".json"
    )  # which may hold lines as well
    folder = cache / "questions"
    file = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}{ending}"
    if file.is_file():
        return file
    try:
        content = _download(url, seconds=seconds, max_bytes=max_bytes)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"{key}={url} cannot be downloaded: {_reason(error, seconds)}. "
            f"Save it as a file and use {key}=FILE."
        ) from error
    # The name contains the process id, because several processes may download the same file.
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


def _download(url: str, *, seconds: float, max_bytes: int) -> bytes:
    """Return the content of `url`, or raise TimeoutError after `seconds`.

    The timeout of a socket starts again with every byte, so a slow server could exceed it without
    limit. The download therefore runs in its own thread.
    """
    ended: SimpleQueue[bytes | Exception] = SimpleQueue()

    def work() -> None:
        try:
            ended.put(_content(url, seconds=seconds, max_bytes=max_bytes))
        except Exception as error:
            ended.put(error)

    Thread(target=work, daemon=True).start()
    try:
        result = ended.get(timeout=seconds)
    except Empty as error:
        raise TimeoutError from error
    if isinstance(result, Exception):
        raise result
    return result


def _content(url: str, *, seconds: float, max_bytes: int) -> bytes:
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(url, headers={"User-Agent": "anima_exp"})
    content = b""
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        # The thread ends soon after the deadline, because it checks the time after each piece.
        while piece := answer.read1(2**16):
            content += piece
            if len(content) > max_bytes:
                raise ValueError(f"it is larger than {max_bytes / 2**20:.0f} MiB")
            if time.monotonic() > deadline:
                raise TimeoutError
        if answer.length:  # read1 raises no error if the connection ends early
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
