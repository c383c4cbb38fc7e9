"""Save and restore what a checkpoint holds besides weights: optimizer, schedule, scale, seeds.

state.json               numbers, and the names of tensors
optimizer*.safetensors   the optimizer's tensors, in files of about 1 GiB
random.safetensors       the states of the random number generators

Reading these files runs no code in them. old_state.py reads checkpoints of earlier versions.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anima_exp.libraries.bitsandbytes_internals import (
    has_own_states,
    load_into_pages,
    own_names,
    torchs_names,
)
from anima_exp.system import json_files
from anima_exp.training import checkpoint
from anima_exp.training import weights as tensor_files

FILE = checkpoint.STATE


@dataclass(frozen=True)
class State:
    """The state of optimizer, schedule and loss scale."""

    optimizer: dict[int, Any]  # parameter number -> tensors and numbers by name, nested
    learning_rates: list[float]  # of the optimizer's groups
    schedule: int  # steps of the schedule; with fp16 the optimizer may skip some
    scaler: dict[str, Any]  # of the loss scale with fp16, else empty


@dataclass(frozen=True)
class RandomState:
    """The states of the random generators of Python, NumPy, torch and each GPU."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: list[Tensor]

    @classmethod
    def now(cls) -> "RandomState":
        """Return the current states."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def restore(self) -> None:
        """Set all random generators to these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if torch.cuda.is_available():
            for gpu, one in enumerate(self.cuda[: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(one, gpu)


def state_of(
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    scaler: torch.amp.GradScaler,
) -> State:
    """Return the state of the optimizer, the schedule and the loss scaler."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return State(optimizer.state_dict()["state"], rates, schedule.last_epoch, scaler.state_dict())


def restore(
    state: State,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    scaler: torch.amp.GradScaler,
) -> None:
    """Restore `state`. The settings of the optimizer stay those of the run."""
    values = optimizer.state_dict()
    for group, rate in zip(values["param_groups"], state.learning_rates, strict=True):
        group["lr"] = rate
    if has_own_states(optimizer):
        values["state"] = {key: own_names(one) for key, one in state.optimizer.items()}
        load_into_pages(optimizer, values)
    else:
        values["state"] = {key: torchs_names(one) for key, one in state.optimizer.items()}
        optimizer.load_state_dict(values)
    schedule.last_epoch = state.schedule
    if state.scaler:
        scaler.load_state_dict(state.scaler)


def save(folder: Path, state: State, numbers: RandomState) -> None:
    """Write `state` and `numbers` to `folder`."""
    tensors: dict[str, Tensor] = {}
    written = _without_tensors(state.optimizer, tensors, "", {})
    tensor_files.save_tensors(folder, "optimizer", tensors)
    version, keys, gauss = numbers.python
    kind, words, *rest = numbers.numpy
    generators = {
        "torch": numbers.torch,
        "python": torch.tensor(keys, dtype=torch.int64),
        "numpy": torch.from_numpy(words.astype(np.int64)),
        **{f"cuda.{gpu}": one for gpu, one in enumerate(numbers.cuda)},
    }
    tensor_files.save_tensors(folder, "random", generators)
    values = {
        "optimizer": written,
        "learning_rates": state.learning_rates,
        "schedule": state.schedule,
        "scaler": state.scaler,
        "random": {"python": [version, gauss], "numpy": [kind, *rest]},
    }
    stamped = json_files.stamp(values, json_files.STATE)
    (folder / FILE).write_text(json.dumps(stamped), encoding="utf-8")


def load(folder: Path) -> tuple[State, RandomState]:
    """Return the state that `save` has written to `folder`.

    Raises:
        NewerFileError: if a later version of anima-exp wrote it.
    """
    file = folder / FILE
    values = json_files.read_versioned(json_files.read_table(file), file, json_files.STATE)
    optimizer = _with_tensors(values["optimizer"], tensor_files.load_tensors(folder, "optimizer"))
    generators = tensor_files.load_tensors(folder, "random")
    (version, gauss), (kind, *rest) = values["random"]["python"], values["random"]["numpy"]
    cuda = sum(name.startswith("cuda.") for name in generators)
    numbers = RandomState(
        python=(version, tuple(generators["python"].tolist()), gauss),
        numpy=(kind, generators["numpy"].numpy().astype(np.uint32), *rest),
        torch=generators["torch"],
        cuda=[generators[f"cuda.{gpu}"] for gpu in range(cuda)],
    )
    state = State(
        {int(number): one for number, one in optimizer.items()},
        values["learning_rates"],
        values["schedule"],
        values["scaler"],
    )
    return state, numbers


def _without_tensors(
    value: object, tensors: dict[str, Tensor], name: str, seen: dict[Any, str]
) -> Any:
    """Return `value` with each tensor replaced by its name, and add the tensors to `tensors`.

    8-bit optimizers share one table between all weights. It is written once.
    """
    if isinstance(value, dict):
        return {
            str(key): _without_tensors(one, tensors, f"{name}.{key}".strip("."), seen)
            for key, one in value.items()
        }
    if not isinstance(value, Tensor):
        return value
    same = value.data_ptr(), value.device, value.dtype, value.shape, value.stride()
    if same not in seen:
        seen[same] = name
        tensors[name] = value.contiguous()
    return seen[same]


def _with_tensors(value: object, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        return {key: _with_tensors(one, tensors) for key, one in value.items()}
    return tensors[value] if isinstance(value, str) else value
