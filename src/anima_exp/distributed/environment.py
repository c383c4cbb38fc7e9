"""The environment that torchrun, accelerate or start.py makes -> a process's place in its run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from anima_exp.errors import ConfigError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
# With these gone, the libraries take a process for one that is alone with its GPU, and for one
# that was not told by accelerate's own settings what the run's say.
_OF_LAUNCHERS = {
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
    "ROLE_RANK", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE",
    "ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND",
}  # fmt: skip
# Other ways to split a model, which accelerate would switch on behind the run's own settings.
_REFUSED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")

# What process_group.py has taken out of the environment for as long as a run lasts: another thread
# of this process is in the same place meanwhile.
hidden: dict[str, str] = {}


@dataclass(frozen=True)
class RankInfo:
    rank: int = 0  # among all processes of the run; 0 writes, the others only compute
    size: int = 1
    local_rank: int = 0  # among those on this machine
    local_size: int = 1


def rank_info() -> RankInfo:
    """This process's place; alone unless a launcher says otherwise.

    Raises:
        ConfigError: what the launcher says cannot be.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        return RankInfo()
    for name in _REFUSED:
        if os.environ.get(name, "").lower() in ("1", "true", "yes"):
            raise ConfigError(
                f"{name}=true would split the model without the run's knowledge. Use "
                "trainer.fsdp=true, and accelerate launch --multi_gpu."
            )
    rank = _number("RANK", 0)
    return RankInfo(
        rank, size, _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", size)
    )  # fmt: skip


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """What a launcher did not add."""
    return {name: value for name, value in environment.items() if name not in _OF_LAUNCHERS}


def select_local_gpu(place: RankInfo) -> None:
    """Let this process see one GPU of its machine: then it is like any process with one GPU.

    Call before anything asks CUDA. A process that sees one GPU already keeps it.

    Raises:
        ConfigError: the machine has fewer visible GPUs than processes.
    """
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        os.environ[_VISIBLE] = str(place.local_rank)
        return
    gpus = [one.strip() for one in visible.split(",") if one.strip()]
    if len(gpus) <= 1:  # none: a CPU; one: given by the launcher
        return
    if place.local_rank >= len(gpus):
        raise ConfigError(
            f"Process {place.rank} is the {place.local_rank + 1}th on this machine, but "
            f"{_VISIBLE}={visible} shows {len(gpus)} GPUs. Start one process per GPU."
        )
    os.environ[_VISIBLE] = gpus[place.local_rank]


def _number(name: str, default: int) -> int:
    text = (os.environ.get(name) or hidden.get(name, "")).strip()
    if not text:
        return default
    if not text.isdigit():
        raise ConfigError(f"{name}={text} is not a number. Start the run with torchrun.")
    return int(text)
