"""Hash files, and keep the hashes of large files in the cache folder.

hashes/KEY.json   the path, size, times and inode of a file when it was hashed, and its SHA-256

An entry is used only if all of these are unchanged. They include the time of the inode's last
change, so a file that was overwritten and got its old modification time back is hashed again.
Entries can be deleted at any time.
"""

import hashlib
import json
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from anima_exp.errors import NewerFileError
from anima_exp.events import note, working
from anima_exp.system import json_files
from anima_exp.system.hardware import cores
from anima_exp.system.paths import cache as default_cache

LARGE = 64 * 2**20  # bytes; smaller files take less than 0.2 s and are hashed at every start
_CHUNK = 2**20
_ANNOUNCED = 4 * 2**30  # bytes; hashing more takes several seconds, so progress is emitted
_THREADS = 4
_LOCK_TIMEOUT_SECONDS = 1800  # for another process that hashes the same file
_SETTLED_NS = 2 * 10**9  # a file changed later than this may change again within one clock tick


@dataclass(frozen=True)
class State:
    """What distinguishes a changed file from an unchanged one without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "State":
        """Return the state that `os.stat` reports."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)

    @property
    def settled(self) -> bool:
        """Whether the file was changed long enough ago for its times to be reliable."""
        return time.time_ns() - self.ctime_ns > _SETTLED_NS


_known: dict[tuple[str, State], str] = {}  # of this process


def sha256(path: Path, *, cache: Path | None = None) -> str:
    """Return the SHA-256 of a file, in hex. See `sha256_of_all`."""
    return sha256_of_all([path], cache=cache)[0]


def sha256_of_all(paths: Sequence[Path], *, cache: Path | None = None) -> list[str]:
    """Return the SHA-256 of each file, in hex, for large files from the cache if it has them.

    Args:
        cache: the cache folder; by default that of paths.py. It may be read-only.

    Raises:
        OSError: if a file cannot be read.
    """
    folder = (cache or default_cache()) / "hashes"
    places = [os.path.abspath(path) for path in paths]
    hashes = [_recall(place, State.of(os.stat(place)), folder) for place in places]
    new = [place for place, known in zip(places, hashes, strict=True) if known is None]
    if new:
        hashed = dict(zip(new, _hash_all(new, folder), strict=True))
        hashes = [known or hashed[place] for place, known in zip(places, hashes, strict=True)]
    return [known for known in hashes if known is not None]


def fresh(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file, in hex, without using the cache."""

    def one(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(min(_THREADS, cores())) as pool:
        return list(pool.map(one, paths))


def _hash_all(places: list[str], folder: Path) -> list[str]:
    stop = threading.Event()
    with _progress(places, folder) as advance:
        if len(places) == 1:
            return [_hash(places[0], folder, stop, advance)]
        with ThreadPoolExecutor(min(_THREADS, cores())) as pool:
            try:
                # In copies of this context, so that its listener receives their events.
                return list(
                    pool.map(
                        lambda one, context: context.run(_hash, one, folder, stop, advance),
                        places,
                        [copy_context() for _ in places],
                    )
                )
            finally:
                stop.set()  # after an error or Ctrl-C the other threads stop within a MiB


def _hash(place: str, folder: Path, stop: threading.Event, advance: Callable[[int], None]) -> str:
    size = os.stat(place).st_size
    if size <= LARGE:
        return _read(place, folder, stop, advance)
    with _one_process(_entry(place, os.stat(place).st_dev, folder)):
        known = _recall(place, State.of(os.stat(place)), folder)
        if known is not None:  # another process has hashed it meanwhile
            advance(size)
            return known
        return _read(place, folder, stop, advance)


def _read(place: str, folder: Path, stop: threading.Event, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with open(place, "rb", buffering=0) as file:
        before = State.of(os.fstat(file.fileno()))
        while not stop.is_set() and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
            advance(len(chunk))
        after = State.of(os.fstat(file.fileno()))
    if before == after and before.settled and not stop.is_set():
        _remember(place, before, digest.hexdigest(), folder)
    return digest.hexdigest()


def _recall(place: str, state: State, folder: Path) -> str | None:
    if known := _known.get((place, state)):
        return known
    if state.size <= LARGE:
        return None
    try:
        file = _entry(place, state.device, folder)
        entry = json_files.read_versioned(json_files.read_table(file), file, json_files.HASHES)
    except (OSError, ValueError, NewerFileError):
        return None
    sha = entry.get("sha256")
    if not isinstance(sha, str) or entry != _content(place, state, sha):
        return None
    _known[place, state] = sha
    return sha


def _remember(place: str, state: State, sha: str, folder: Path) -> None:
    _known[place, state] = sha
    if state.size <= LARGE:
        return
    entry = _entry(place, state.device, folder)
    if json_files.is_newer(entry, json_files.HASHES):
        note(json_files.not_used(entry))
        return
    # A unique name, because processes on several machines may share this folder.
    draft = entry.with_name(f".{entry.stem}.{secrets.token_hex(8)}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = json_files.stamp(_content(place, state, sha), json_files.HASHES)
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(entry)
    except OSError:  # a cache that is read-only or full: the next start hashes again
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _content(place: str, state: State, sha: str) -> dict[str, object]:
    values = {"path": place, **asdict(state), "sha256": sha}
    # The check detects a damaged entry, which would give a model another name.
    return {**values, "check": hashlib.sha256(repr(values).encode()).hexdigest()[:16]}


def _entry(place: str, device: int, folder: Path) -> Path:
    # The key includes the device, because several machines may share the cache.
    key = hashlib.sha256(f"{device}:{place}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder / f"{key}.json"


@contextmanager
def _one_process(entry: Path) -> Iterator[None]:
    """Let other processes that need the same hash wait, if the file system supports locks."""
    lock = FileLock(entry.with_suffix(".lock"))
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_LOCK_TIMEOUT_SECONDS)
    except (OSError, NotImplementedError, Timeout):
        yield
        return
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _progress(places: Sequence[str], folder: Path) -> Iterator[Callable[[int], None]]:
    """Emit progress if hashing takes several seconds."""
    total = sum(os.stat(place).st_size for place in places)
    if total < _ANNOUNCED:
        yield lambda count: None
        return
    where = os.path.dirname(places[0])
    text = f"hashing the {total / 1e9:.1f} GB of {where} (only once: {folder} keeps the hashes)"
    with working("hashing", text, total) as advance:
        yield advance


# Short ids as in FastChat's and QLoRA's files.
_DIGITS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # none to be mistaken
_LENGTH = 22  # digits that 128 bits need


def short_id(text: str) -> str:
    """Return an id of 22 characters: the version-5 UUID of `text` as a domain name, in base 57."""
    # uuid.uuid5 rejects half a character, which a model may generate.
    name = uuid.NAMESPACE_DNS.bytes + text.encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(name, usedforsecurity=False).digest()
    number, letters = uuid.UUID(bytes=digest[:16], version=5).int, ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        letters = _DIGITS[digit] + letters
    return letters.rjust(_LENGTH, _DIGITS[0])
