"""Check the weight files of a folder by their names, headers and sizes, without torch."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anima_exp.errors import ModelError, first_line

WHOLE = ("model.safetensors", "pytorch_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_POINTER = b"version https://git-lfs"
_MOST_HEADER_BYTES = 100_000_000  # the safetensors format allows no more
_AGAIN = "Download the model again."


def read_object(file: Path, where: str) -> dict[str, Any]:
    """Read the JSON object in `file`, or raise ModelError."""
    check_content(file, where)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = first_line(error)
        raise ModelError(f"{where}: {file.name} cannot be read: {reason}.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{where}: {file.name} holds no JSON object.")
    return found


def weight_files(folder: Path, first: str, where: str) -> list[str]:
    """Return the names of the weight files, all of which exist.

    Args:
        first: the name of the one weight file, or of the index that lists several.
        where: the setting that names the folder, for messages.
    """
    if first in WHOLE:
        return [first]
    listed = read_object(folder / first, where).get("weight_map")
    if not isinstance(listed, Mapping) or not listed:
        raise ModelError(f"{where}: {first} lists no files. {_AGAIN}")
    files = sorted({str(name) for name in listed.values()})
    gone = [name for name in files if not (folder / name).is_file()]
    if gone:
        raise ModelError(
            f"{where}: {first} lists {len(files)} files, of which {len(gone)} are missing. The "
            f"first is {gone[0]}. {_AGAIN}"
        )
    return files


def check_weights(file: Path, where: str, *, quantized: bool) -> None:
    """Raise ModelError if a weight file is damaged, cut, or stores other types than floats."""
    check_content(file, where)
    if file.suffix != ".safetensors":  # torch checks its own format as it loads
        return
    found = header(file)
    if found is None:
        raise ModelError(
            f"{where}: {file.name} does not start with the header of a safetensors file. {_AGAIN}"
        )
    start, tensors = found
    try:
        end = start + max((int(one["data_offsets"][1]) for one in tensors.values()), default=0)
        kinds = {name: str(one["dtype"]) for name, one in tensors.items()}
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: the header of {file.name} is damaged. {_AGAIN}") from error
    size = file.stat().st_size
    if size != end:
        raise ModelError(
            f"{where}: {file.name} has {size:,} bytes, but its header describes {end:,}. {_AGAIN}"
        )
    odd = [
        name for name, kind in kinds.items()
        if name.endswith(".weight") and not kind.startswith(("F", "BF"))
    ]  # fmt: skip
    if odd and not quantized:
        raise ModelError(
            f"{where}: {len(odd)} weights of {file.name} are not floating-point numbers, and its "
            f"config.json names no quantization. The first is {odd[0]} of type {kinds[odd[0]]}. "
            f"{_AGAIN}"
        )


def header(file: Path) -> tuple[int, dict[str, Any]] | None:
    """Return the offset of the data in a safetensors file, and its tensors by name."""
    with file.open("rb") as opened:
        beginning = opened.read(8)
        if len(beginning) < 8:
            return None
        (length,) = struct.unpack("<Q", beginning)
        if length > min(_MOST_HEADER_BYTES, file.stat().st_size - 8):
            return None
        try:
            found = json.loads(opened.read(length))
        except (ValueError, RecursionError):
            return None
    if not isinstance(found, dict):
        return None
    found.pop("__metadata__", None)
    return 8 + length, found


def check_content(file: Path, where: str) -> None:
    """Raise ModelError for a file that is empty or a Git LFS pointer."""
    try:
        with file.open("rb") as opened:
            beginning = opened.read(len(_POINTER))
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise ModelError(f"{where}: {file.name} cannot be read: {reason}.") from error
    if not beginning:
        raise ModelError(f"{where}: {file.name} is empty. {_AGAIN}")
    if beginning == _POINTER:
        raise ModelError(
            f"{where}: {file.name} is a Git LFS pointer, not the file itself. Run `git lfs pull` "
            "in that folder, or download the model again."
        )
