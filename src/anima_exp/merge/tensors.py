"""Files of weights -> tensors by name, of which only the one asked for is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from anima_exp.errors import ModelError, first_line


@dataclass(frozen=True)
class Entry:
    """One tensor, not yet read."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numbers(self) -> int:
        return torch.Size(self.shape).numel()


class Tensors:
    """Safetensors, or files of pickled tensors as torch wrote them before; memory-mapped."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises ModelError: a file is damaged, or holds more than tensors."""
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
        raise ModelError(f"{file}: an index names this file, but it is not there.") from error
    except UnpicklingError as error:  # torch's own text advises to run what is in there
        raise ModelError(
            f"{file} is damaged, or holds more than weights, which could run a program here. "
            "Nothing of it was run. Ask its author for safetensors."
        ) from error
    except Exception as error:  # each library has errors of its own for a damaged file
        reason = first_line(error)
        raise ModelError(f"{file}: the weights cannot be read: {reason}") from error


def _unread(opened: Any, name: str) -> Tensor:
    """A tensor of the same type, without its numbers."""
    if isinstance(opened, dict):
        return opened[name]  # type: ignore[no-any-return]  # mapped, not read
    part = opened.get_slice(name)
    return part[0:0] if part.get_shape() else opened.get_tensor(name)  # type: ignore[no-any-return]


def _shape(opened: Any, name: str) -> Sequence[int]:
    found = opened[name].shape if isinstance(opened, dict) else opened.get_slice(name).get_shape()
    return found  # type: ignore[no-any-return]
