"""Read the files of a folder to publish, and check that they are exactly those of one model."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.errors import ConfigError
from anima_exp.system import json_files

CARD = "README.md"
ADAPTER = "adapter_config.json"
EMPTY_FORM = "[More Information Needed]"  # in PEFT's empty model card
_WEIGHTS = ".safetensors"
_TEXTS = (".json", ".txt", ".md", ".jinja", ".model")
_NAMES = ("LICENSE", "NOTICE")  # some licences require them
_INDEX = "model.safetensors.index.json"
_FORMAT = "format"  # transformers reads weights only if it is "pt"


@dataclass(frozen=True)
class File:
    """A file to upload as `name`: weights by their path, other files by their checked content."""

    name: str
    path: Path
    content: bytes | None = None
    header: bytes | None = None  # of weights: the header to upload in place of the file's own
    dropped: tuple[str, ...] = ()  # metadata of the file's own header that is not uploaded

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.content is None else len(self.content)

    @property
    def text(self) -> str:
        return (self.content or b"").decode("utf-8", errors="replace")


def read(folder: Path) -> list[File]:
    """Return the files of a folder, sorted by name.

    Raises:
        ConfigError: if a file is missing, truncated, or not part of the model.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder. Give the folder of an adapter or a model.")
    files = [_file(path) for path in sorted(folder.iterdir())]
    names = {file.name for file in files}
    if ADAPTER in names:
        expected = {"adapter_model.safetensors"}
    elif "config.json" in names:
        expected = _shards(folder) if _INDEX in names else {"model.safetensors"}
    else:
        raise ConfigError(
            f"{folder} holds neither an adapter ({ADAPTER}) nor a model (config.json). "
            "Give the folder of one of them."
        )
    weights = {name for name in names if name.endswith(_WEIGHTS)}
    if missing := sorted(expected - weights):
        raise ConfigError(
            f"{folder} is incomplete: {', '.join(missing)} is missing. Restore the file."
        )
    if strange := sorted(weights - expected):
        raise ConfigError(
            f"{folder} holds {', '.join(strange)}, which is not part of its model. Remove it."
        )
    for name in sorted(weights):
        if not _is_whole(folder / name):
            raise ConfigError(
                f"{folder / name} is damaged or truncated: it is not a valid safetensors file."
            )
    return files


def with_card(files: Sequence[File], write: Callable[[], str] | None) -> list[File]:
    """Return the files with a new model card if it is missing, or PEFT's empty template."""
    own = [f for f in files if f.name == CARD and EMPTY_FORM not in f.text]
    if own or write is None:
        return list(files)
    card = File(CARD, files[0].path.with_name(CARD), write().encode())
    return [card, *(file for file in files if file.name != CARD)]


def json_of(file: File) -> Any:
    """Parse a file as JSON. Raise ConfigError if it is invalid."""
    try:
        return json_files.parse(file.content or b"")
    except ValueError as error:
        raise ConfigError(f"{file.path} is not valid JSON: {error}") from error


def _file(path: Path) -> File:
    if path.name.startswith("."):
        raise ConfigError(f"{path} is a hidden file, which would be uploaded unseen. Remove it.")
    if path.is_symlink() or not path.is_file():
        raise ConfigError(
            f"{path} is {'a link' if path.is_symlink() else 'not a file'}. A folder to publish "
            "holds only the files of one model. Remove it."
        )
    if path.suffix == _WEIGHTS:
        header, dropped = _without_metadata(path)
        return File(path.name, path, header=header, dropped=dropped)
    if path.suffix in _TEXTS or path.name in _NAMES:
        return File(path.name, path, path.read_bytes())
    raise ConfigError(
        f"{path} cannot be uploaded: only {_WEIGHTS}, {', '.join(_TEXTS)} can. Other kinds of "
        "weights (.bin, .pt, .pkl) can run code when they are loaded. Remove it."
    )


def _shards(folder: Path) -> set[str]:
    try:
        named = json_files.read_file(folder / _INDEX)["weight_map"].values()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"{folder / _INDEX} does not list the weight files: {error}") from error
    return set(named)


def _header(path: Path) -> tuple[int, Any]:
    """Return the length of a safetensors header, with its 8 length bytes, and its contents.

    The result is (0, None) if the file has no valid header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= path.stat().st_size - 8:
            return 0, None
        try:
            return 8 + length, json_files.parse(file.read(length))
        except ValueError:
            return 0, None


def _is_whole(path: Path) -> bool:
    """Return whether a safetensors file has the length that its header states."""
    length, header = _header(path)
    try:
        ends = [one["data_offsets"][1] for name, one in header.items() if name[:2] != "__"]
        return path.stat().st_size == length + max(ends, default=0)
    except (KeyError, TypeError, AttributeError, IndexError):
        return False


def _without_metadata(path: Path) -> tuple[bytes | None, tuple[str, ...]]:
    """Return a header with only the format and the tensors, and the names of other metadata.

    The header is None if the file's own has no other metadata. Trainers write commands and paths
    into it.
    """
    _, header = _header(path)
    said = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(said, dict) or set(said) <= {_FORMAT}:
        return None, ()
    header["__metadata__"] = {key: value for key, value in said.items() if key == _FORMAT}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers after it start at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text, tuple(set(said) - {_FORMAT})


def write_sent(file: File, path: Path) -> None:
    """Write the weights of `file` to `path` with the header that is uploaded."""
    length, _ = _header(file.path)
    with file.path.open("rb") as source, path.open("wb") as target:
        source.seek(length)
        target.write(file.header or b"")
        shutil.copyfileobj(source, target, 2**24)
