"""Find a base model's files, and read tensors from them one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries import hub
from anima_exp.model.tokenizer import resolve_source
from anima_exp.system import json_files

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_OLDER = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Entry:
    """A tensor that has not been read."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numbers(self) -> int:
        return torch.Size(self.shape).numel()


class Tensors:
    """Tensors by name in memory-mapped safetensors or older pickle files, read one at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Open the files.

        Raises:
            ModelError: if a file is damaged, or holds more than tensors.
        """
        self.entries: dict[str, Entry] = {}
        self._opened = {file: _open(file) for file in files}
        for file, opened in self._opened.items():
            for name in opened.keys():  # noqa: SIM118 - safe_open is no mapping
                tensor = _unread(opened, name)
                self.entries[name] = Entry(file, tuple(_shape(opened, name)), tensor.dtype)

    def read(self, name: str) -> Tensor:
        opened = self._opened[self.entries[name].file]
        tensor: Tensor = opened[name] if isinstance(opened, dict) else opened.get_tensor(name)
        return tensor


def _open(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            return safe_open(file, framework="pt")
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise ModelError(
            f"{file}: the index names this file, but it does not exist. Download the model again."
        ) from error
    except UnpicklingError as error:  # torch's message advises to run the code in the file
        raise ModelError(
            f"{file} is damaged, or holds code besides weights. None of it was run. "
            "Ask its author for safetensors."
        ) from error
    except Exception as error:  # each library raises other errors for a damaged file
        reason = first_line(error)
        raise ModelError(f"{file}: the weights cannot be read: {reason}") from error


def _unread(opened: Any, name: str) -> Tensor:
    """Return a tensor of the same type, without reading its values."""
    if isinstance(opened, dict):
        return opened[name]  # type: ignore[no-any-return]  # mapped, not read
    part = opened.get_slice(name)
    return part[0:0] if part.get_shape() else opened.get_tensor(name)  # type: ignore[no-any-return]


def _shape(opened: Any, name: str) -> Sequence[int]:
    found = opened[name].shape if isinstance(opened, dict) else opened.get_slice(name).get_shape()
    return found  # type: ignore[no-any-return]


def table(model: ModelConfig, path: Path) -> dict[str, Any]:
    try:
        return json_files.read_table(path)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ModelError(
            f"model.source={model.source}: {path.name} cannot be read: {reason}"
        ) from error


def file(model: ModelConfig, name: str) -> Path | None:
    """Return a file of the base, from its folder or the hub; None if it does not exist."""
    source = resolve_source(model.source)
    if Path(source).is_dir():
        return found if (found := Path(source) / name).is_file() else None
    return hub.file(source, name, where=f"model.source={source}", revision=model.revision)


def weights_of(model: ModelConfig) -> list[Path]:
    for whole, index in (_WEIGHTS, _OLDER):
        if found := file(model, whole):
            return [found]
        if listed := file(model, index):
            names = sorted(set(table(model, listed).get("weight_map", {}).values()))
            return [file(model, name) or listed.with_name(name) for name in names]
    raise ModelError(
        f"model.source={model.source} has no weights to read: there is none of "
        f"{', '.join((*_WEIGHTS, *_OLDER))}."
    )
