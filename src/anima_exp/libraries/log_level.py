"""Change the level of a library's logger for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def log_level(name: str, level: int | None = None) -> Iterator[None]:
    """Give the logger `name` another level inside; afterwards it has its own again.

    Args:
        level: as logging.ERROR; None lets the body set it.
    """
    logger = logging.getLogger(name)
    before = logger.level
    if level is not None:
        logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
