"""Find out whether a process works on a run, without disturbing it."""

import os
from pathlib import Path

OWNER, LOCK = ".owner", ".lock"


def running_process(folder: Path) -> str | None:
    """Return which process holds a run's lock, as "process 4711 on node3"; None if none does.

    The process writes `.owner` while it has the lock. A process that was killed leaves the file
    behind, so the lock itself decides. It is tried as a reader, for microseconds, and only if
    there is an `.owner`.
    """
    try:
        owner = (folder / OWNER).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return (owner or "a process") if _is_locked(folder / LOCK) else None


def _is_locked(lock: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, where filelock locks in another way
        return True
    try:
        handle = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: then `.owner` is all that is known
        return True
    finally:
        os.close(handle)
    return False
