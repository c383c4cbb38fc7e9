"""Read checkpoints of versions before state.json, whose files transformers' Trainer wrote.

Those files are pickles. Only numbers, tensors and NumPy arrays are read. torch refuses everything
else before any of it runs.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anima_exp.errors import RunError
from anima_exp.training.state import RandomState, State


def load(folder: Path) -> tuple[State, RandomState]:
    """Return the state of a checkpoint that has optimizer.pt and no state.json.

    Raises:
        RunError: if a file holds anything but numbers and tensors.
    """
    optimizer = _read(folder / "optimizer.pt")
    schedule = _read(folder / "scheduler.pt")
    scaler = folder / "scaler.pt"
    state = State(
        optimizer["state"],
        [group["lr"] for group in optimizer["param_groups"]],
        schedule["last_epoch"],
        _read(scaler) if scaler.exists() else {},
    )
    numbers = _read(folder / "rng_state.pth")
    cuda = numbers.get("cuda", [])
    random = RandomState(
        numbers["python"],
        numbers["numpy"],
        numbers["cpu"],
        list(cuda) if isinstance(cuda, list) else [cuda],
    )
    return state, random


def _read(path: Path) -> Any:
    array = np.zeros(1, np.uint32)
    makes_arrays = array.__reduce__()[0]
    allowed: list[Any] = [
        (makes_arrays, "numpy.core.multiarray._reconstruct"),  # NumPy 1
        (makes_arrays, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(array.dtype),
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{path} holds more than numbers, which could run code. Nothing in it was run. "
            f"Remove {path.parent} to resume from an older checkpoint or from step 0."
        ) from error
