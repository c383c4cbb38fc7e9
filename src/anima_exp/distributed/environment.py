"""Read this process's rank from the environment that torchrun, accelerate or a launcher sets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from anima_exp.errors import ConfigError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
# Without these variables, libraries treat a process as the only one with its GPU. They then also
# ignore accelerate's own settings, which the run's settings replace.
_LAUNCHER_VARIABLES = {
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
    "ROLE_RANK", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE",
    "ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND",
}  # fmt: skip
# Other ways to split a model, which accelerate would switch on without the run's knowledge.
_REFUSED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")

# Variables that process_group.py has removed from the environment for the duration of a run.
# Another thread of this process still needs them to read the rank.
hidden: dict[str, str] = {}


@dataclass(frozen=True)
class RankInfo:
    """The rank of a process, and the number of processes."""

    rank: int = 0  # among all processes of the run; rank 0 writes, the others only compute
    size: int = 1  # the world size
    local_rank: int = 0  # among the processes on this machine
    local_size: int = 1


def rank_info() -> RankInfo:
    """Return the rank of this process; it is the only process unless a launcher set a world size.

    Raises:
        ConfigError: if a launcher's variable is no number, or sets another kind of sharding.
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
    """Return the environment without the variables of launchers."""
    return {name: value for name, value in environment.items() if name not in _LAUNCHER_VARIABLES}


def select_local_gpu(place: RankInfo) -> None:
    """Let this process see only the GPU of its local rank.

    Call it before CUDA is initialized. A process that sees one GPU already keeps it.

    Raises:
        ConfigError: if the machine has fewer visible GPUs than processes.
    """
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        os.environ[_VISIBLE] = str(place.local_rank)
        return
    gpus = [one.strip() for one in visible.split(",") if one.strip()]
    if len(gpus) <= 1:  # none: it uses the CPU; one: the launcher selected it
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
