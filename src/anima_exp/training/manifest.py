"""A checkpoint's list of its files, written last: whether the checkpoint is whole.

manifest.json   the step, the size and SHA-256 of every other file, and how long the run's journal
                was, whose lines reached the disk before the checkpoint

Checkpoints of earlier versions have no manifest. They count as whole if all files that training
resumes from are there and their own formats find no damage.
"""

import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from anima_exp import file_hashes, json_text, schema_version
from anima_exp.errors import first_line
from anima_exp.results.files import flush, write_json

FILE = "manifest.json"
STATE = "state.json"  # of the loop: training/state.py
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")


def seal(folder: Path, *, step: int, journal: dict[str, Any]) -> None:
    """Bring every file of `folder` to the disk, then write the manifest.

    Args:
        journal: what the checkpoint relies on of the run's journal (results/journal.py).
    """
    files = _files(folder)
    # Hashing takes about 1 ms per MiB, and in threads most of it passes while the disk writes.
    with ThreadPoolExecutor(1) as pool:
        hashes = pool.submit(file_hashes.fresh, files)
        for path in files:
            flush(path)
    sizes = [path.stat().st_size for path in files]
    write_json(
        folder / FILE,
        schema_version.stamp(
            {
                "step": step,
                "files": {
                    path.relative_to(folder).as_posix(): {"size": size, "sha256": sha}
                    for path, size, sha in zip(files, sizes, hashes.result(), strict=True)
                },
                "journal": journal,
            },
            schema_version.MANIFEST,
        ),
    )


def problem(folder: Path, *, step: int) -> str | None:
    """Say why training cannot resume from this checkpoint; None if it can.

    Raises:
        PermissionError: a file cannot be read, so that nothing is known.
        NewerFile: a later version of anima-exp wrote the checkpoint.
    """
    try:
        if not (folder / FILE).exists():
            if (folder / STATE).exists():
                return f"{FILE} is missing"
            return _problem_without_manifest(folder, step)
        return _problem(folder, _read(folder), step)
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{FILE}: {first_line(error)}"


def journal(folder: Path) -> dict[str, Any] | None:
    """Return what a whole checkpoint relies on of the journal; None for one without manifest."""
    if not (folder / FILE).exists():
        return None
    found: dict[str, Any] = _read(folder)["journal"]
    return found


def _read(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    return schema_version.read(json_text.read_table(file), file, schema_version.MANIFEST)


def _problem(folder: Path, values: dict[str, Any], step: int) -> str | None:
    if values["step"] != step:
        return f"it was written at step {values['step']}"
    for name, expected in values["files"].items():
        path = folder / name
        if not path.exists():
            return f"{name} is missing"
        if path.stat().st_size != expected["size"]:
            return f"{name} has {path.stat().st_size:,} of {expected['size']:,} bytes"
    hashes = file_hashes.fresh([folder / name for name in values["files"]])
    for (name, expected), sha in zip(values["files"].items(), hashes, strict=True):
        if sha != expected["sha256"]:
            return f"the bytes of {name} have changed"
    return None


def _problem_without_manifest(folder: Path, step: int) -> str | None:
    weights = [name for name in _WEIGHTS if (folder / name).exists()]
    if not weights:
        return "its weights are missing"
    shards = []
    if weights[0].endswith(".json"):
        shards = sorted(set(json_text.read_table(folder / weights[0])["weight_map"].values()))
    adapter = ["adapter_config.json"] if weights[0].startswith("adapter") else []
    states = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "meter.json"]
    for name in [*weights[:1], *shards, *adapter, *states]:
        if not (folder / name).exists():
            return f"{name} is missing"
        if reason := _damage(folder / name):
            return f"{name} is damaged: {reason}"
    at = json_text.read_table(folder / "trainer_state.json").get("global_step")
    return None if at == step else f"trainer_state.json is of step {at}"


def _damage(path: Path) -> str | None:
    """Ask the format of a file what is wrong with it."""
    try:
        if path.suffix == ".json":
            json_text.read_table(path)
        elif path.suffix == ".safetensors":
            _check_safetensors(path)
        else:  # PyTorch writes zip files, which hold a checksum of each member
            with zipfile.ZipFile(path) as archive:
                if broken := archive.testzip():
                    return f"{broken} has changed"
    except PermissionError:
        raise
    except (
        OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, struct.error,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        return first_line(error)
    return None


def _check_safetensors(path: Path) -> None:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        size = path.stat().st_size
        if length > size:
            raise ValueError("it is cut short")
        header = json_text.parse(file.read(length))
    ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError(f"it has {size:,} of {8 + length + max(ends, default=0):,} bytes")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
