"""RunConfig -> what the run computes: its result-relevant settings, their hash, its name."""

import hashlib
import json
from dataclasses import asdict
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from anima_exp.config import RunConfig

# Settings that change where a run is written, shown or saved, but not what comes out of it;
# names, which only label; and recommendations, which count where another setting took them.
_NOT_IN_THE_RESULT = (
    "runs",
    "folder",
    "cache",
    "tracking.",
    "model.name",
    "model.recommended.",
    "model.device_map",
    "model.max_memory_gib",
    "data.name",
    "data.steps",
    "data.eval_every",
    "data.sample_prompts",
    "trainer.log_every",
    "trainer.save_every",
    "trainer.keep_checkpoints",
)


def flatten(config: RunConfig) -> dict[str, Any]:
    """Every setting by its dotted key, in the order of config.py, as JSON values."""
    flat: dict[str, Any] = {}

    def walk(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, f"{key}.{name}" if key else name)
        else:
            flat[key] = value.value if isinstance(value, Enum) else value

    walk(asdict(config), "")
    return flat


def relevant(config: RunConfig) -> dict[str, Any]:
    """The settings that the result depends on; a file counts by its content, not by its place."""
    settings = {
        key: value
        for key, value in flatten(config).items()
        if not key.startswith(_NOT_IN_THE_RESULT)
    }
    for key in ("data.path", "data.heldout_path"):
        if settings[key]:
            settings[key] = _content(Path(settings[key]).expanduser())
    return settings


def _content(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return str(path)  # data/files.py says what is wrong with it
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _sha256(path: Path, _size: int, _changed: int) -> str:
    # Kept per size and time of change, so that the cells of a sweep read a file once.
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def name(config: RunConfig) -> str:
    """`tiny-sample-1f0c9a2b`: two runs share a name exactly when they compute the same."""
    settings = json.dumps(relevant(config), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:10]
    return f"{config.model.name}-{config.data.name}-{digest}"
