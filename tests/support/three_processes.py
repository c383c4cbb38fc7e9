"""What each of three processes finds; test_world.py starts them and reads what they write."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from anima_exp.distributed.environment import rank_info
from anima_exp.distributed.process_group import join_process_group
from anima_exp.errors import AnimaError, PeerLostError


def main(folder: Path) -> None:
    here, found = rank_info(), {}
    before = dict(os.environ)
    with join_process_group(here) as world:
        found["seen"] = int(os.environ.get("WORLD_SIZE", 1))  # by the libraries, from here on
        found["spread"] = world.map_over_ranks(
            "abcdefg", lambda some: [f"{a}{world.rank}" for a in some]
        )
        found["fewer"] = world.map_over_ranks("a", lambda some: [f"{some[0]}{world.rank}"])
        found["nothing"] = world.map_over_ranks([], list)
        found["total"] = world.all_reduce_sum(1.5, world.rank)
        found["led"] = [
            world.broadcast_in_lockstep(world.rank),
            replace(world, lockstep=True).broadcast_in_lockstep(world.rank),
        ]
        found["least"] = world.all_reduce_min(10 - world.rank)
        found["shared"] = world.run_on_main(lambda: f"from {world.rank}")
        found["turns"] = in_turn(world, folder / "turns.txt")
        found["gradients"] = gradients(world)
        first = torch.full((2,), float(world.rank))
        world.broadcast_parameters([first])
        found["copied"] = first.tolist()
        world.assert_same_on_all_ranks({"lora.rank": 8})
        try:
            world.assert_same_on_all_ranks({"seed": 0, "lora.rank": 8 if world.rank < 2 else 16})
        except AnimaError as error:
            found["disagree"] = [str(error), error.reported]
        try:
            world.run_on_main(lambda: fail("no such file"))
        except (AnimaError, PeerLostError) as error:
            found["failed"] = [str(error), error.reported]
    found["environment"] = dict(os.environ) == before
    with join_process_group(rank_info()) as world:  # another run of the same processes
        found["again"] = [world.size, world.all_reduce_sum(1, world.rank)]
        try:
            world.run_on_main(lambda: fail("no such file"))
        except (AnimaError, PeerLostError) as error:
            found["again"].append(error.reported)
    (folder / f"{here.rank}.json").write_text(json.dumps(found))


def in_turn(world, file):
    def work():
        seen = file.exists()
        file.touch()
        return seen

    return world.main_process_first(work)


def gradients(world):
    """Of weights that all, one, and none of the processes have used; and in two types."""
    weights = [torch.nn.Parameter(torch.zeros(3)) for _ in range(4)]
    weights[3].data = weights[3].data.to(torch.bfloat16)
    weights[0].grad = torch.full((3,), float(world.rank))
    if world.rank == 1:
        weights[1].grad = torch.ones(3)
    weights[3].grad = torch.ones(3, dtype=torch.bfloat16)
    world.all_reduce_gradients(weights)
    return [None if one.grad is None else one.grad.tolist() for one in weights]


def fail(text):
    raise AnimaError(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
