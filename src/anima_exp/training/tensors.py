"""Tensors by name -> safetensors files of about a GiB each, and back."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

_FILE_BYTES = 2**30


def save(folder: Path, stem: str, tensors: dict[str, Tensor]) -> None:
    """Write `stem`.safetensors, `stem`-1.safetensors, ... to `folder`."""
    from safetensors.torch import save_file

    for count, some in enumerate(_files(tensors)):
        save_file(some, folder / f"{stem}{f'-{count}' if count else ''}.safetensors")


def load(folder: Path, stem: str) -> dict[str, Tensor]:
    """Return what `save` has written, on the CPU."""
    found: dict[str, Tensor] = {}
    for path in files(folder, stem):
        found |= _read(path)
    return found


def files(folder: Path, stem: str) -> list[Path]:
    """Return the files of `stem` in `folder`."""
    return sorted(folder.glob(f"{stem}*.safetensors"))


def _files(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """What goes into one file each: safetensors copies all of a file from the GPU at once."""
    some: dict[str, Tensor] = {}
    for name, one in tensors.items():
        if some and sum(other.nbytes for other in some.values()) + one.nbytes > _FILE_BYTES:
            yield some
            some = {}
        some[name] = one
    if some:
        yield some


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        # Copies: the file is deleted when newer checkpoints are there.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
