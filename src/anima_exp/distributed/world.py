"""Define the collectives of the processes that compute one run together.

To torch, transformers and accelerate, each of them is a process with one GPU. Only the all-reduce
of gradients (training/step.py) and the methods here make them one run. They exchange JSON in
tensors.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from anima_exp.errors import ConfigError, PeerLostError, first_line

Item = TypeVar("Item")
Value = TypeVar("Value")

_BUCKET_BYTES = 64 * 2**20  # of gradients in one all-reduce


@dataclass(frozen=True)
class ProcessGroup:
    """All processes of a run, as one of them sees them. All ranks call each method in one order.

    Raises:
        PeerLostError: from any method, if another process has died.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among the processes on this machine
    local_size: int = 1
    lockstep: bool = False  # all ranks compute the same, because the base model is sharded

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and messages."""
        return self.rank == 0

    # The name that evaluations written for version 0.1 use.
    leads = is_main

    @property
    def num_workers(self) -> int:
        """The number of ranks that `map_over_ranks` divides work over."""
        return 1 if self.lockstep else self.size

    def run_on_main(self, work: Callable[[], Value]) -> Value:
        """Run `work` on rank 0, and return its JSON-serializable result on every rank.

        If it raises an error, all ranks stop.
        """
        if self.size == 1:
            return work()
        if not self.is_main:
            result = self._gather(None)[0]
            if not result["well"]:
                raise PeerLostError("The main process of this run has stopped.", reported=True)
            return result["value"]  # type: ignore[no-any-return]
        try:
            value = work()
        except BaseException:
            self._gather({"well": False})
            raise
        self._gather({"well": True, "value": value})
        return value

    def map_over_ranks(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Value]]
    ) -> list[Value]:
        """Return the results of `work` for all items, divided over the ranks.

        Args:
            work: takes some of the items, and returns a JSON-serializable value for each. A rank
                without items does not call it.
        """
        if self.size == 1 or self.lockstep:
            return list(work(items)) if items else []
        own = items[self.rank :: self.size]
        parts = self._gather(list(work(own)) if own else [])
        result: list[Any] = [None] * len(items)
        for rank, part in enumerate(parts):
            result[rank :: self.size] = part
        return result

    def local_slice(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this rank's part of items, whose results `all_reduce_sum` will add up."""
        return items if self.lockstep else items[self.rank :: self.size]

    def all_reduce_sum(self, *numbers: float) -> list[float]:
        """Return the sum of each number over all ranks; in lockstep the numbers themselves."""
        if self.size == 1 or self.lockstep:
            return list(numbers)
        return [sum(column) for column in zip(*self._gather(list(numbers)), strict=True)]

    def all_reduce_any(self, flag: bool) -> bool:
        """Return whether `flag` is true on any rank."""
        return flag if self.size == 1 else any(self._gather(flag))

    def all_reduce_min(self, number: int) -> int:
        """Return the smallest number of all ranks."""
        return number if self.size == 1 else min(self._gather(number))

    def broadcast_in_lockstep(self, value: Value) -> Value:
        """Return rank 0's value in lockstep, so that all take the same branch; else `value`."""
        return self._gather(value)[0] if self.lockstep and self.size > 1 else value

    def all_gather(self, value: Value) -> list[Value]:
        """Return the values of all ranks, by rank."""
        return [value] if self.size == 1 else self._gather(value)

    def assert_same_on_all_ranks(self, what: Mapping[str, Any]) -> None:
        """Raise ConfigError unless all ranks pass the same; only the main process reports it."""
        first, *others = self.all_gather(dict(what))
        for rank, theirs in enumerate(others, start=1):
            differ = [key for key in {**first, **theirs} if first.get(key) != theirs.get(key)]
            if differ:
                key = differ[0]
                more = f" (and {len(differ) - 1} more)" if differ[1:] else ""
                raise ConfigError(
                    f"The processes of this run disagree: {key}={first.get(key)} on process 0, "
                    f"{theirs.get(key)} on process {rank}{more}. Start all of them with the same "
                    "command, the same files and the same library versions.",
                    reported=not self.is_main,
                )

    def main_process_first(self, work: Callable[[], Value]) -> Value:
        """Run `work` on one rank of each machine, then on the others, which use its cache."""
        if self.size == 1:
            return work()
        result = [work()] if self.local_rank == 0 else []
        self.barrier()
        result = result or [work()]
        self.barrier()
        return result[0]

    def one_rank_at_a_time(self, work: Callable[[], Value]) -> Value:
        """Run `work` on one rank after another, for work that needs much memory."""
        result: list[Value] = []
        for rank in range(self.size):
            if rank == self.rank:
                result.append(work())
            if self.size > 1:
                self.barrier()
        return result[0]

    def barrier(self) -> None:
        """Wait until all ranks have called this."""
        self.all_reduce_any(False)

    def all_reduce_gradients(self, parameters: Sequence[Any]) -> None:
        """Replace each gradient by its sum over all ranks; it stays None if no rank has one."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        with _contact():
            has = torch.tensor([one.grad is not None for one in parameters], dtype=torch.uint8)
            distributed.all_reduce(has, op=distributed.ReduceOp.MAX)
            trained = [one for one, there in zip(parameters, has.tolist(), strict=True) if there]
            for one in trained:
                if one.grad is None:
                    one.grad = torch.zeros_like(one)
            for some in _buckets([one.grad for one in trained]):
                flat = torch.cat([one.reshape(-1) for one in some])
                distributed.all_reduce(flat)
                parts = torch.split(flat, [one.numel() for one in some])
                for one, part in zip(some, parts, strict=True):
                    one.copy_(part.view_as(one))

    def broadcast_parameters(self, tensors: Sequence[Any]) -> None:
        """Overwrite the tensors of all ranks with those of rank 0."""
        if self.size == 1:
            return
        from torch import distributed

        with _contact():
            for one in tensors:
                distributed.broadcast(one.data, src=0)

    def _gather(self, value: object) -> list[Any]:
        import torch
        from torch import distributed

        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        with _contact():
            lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            distributed.all_gather(lengths, torch.tensor([len(text)]))
            longest = max(int(length) for length in lengths)
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(text)] = text
            texts = [torch.zeros_like(padded) for _ in range(self.size)]
            distributed.all_gather(texts, padded)
        whole = zip(texts, lengths, strict=True)
        return [json.loads(one[: int(length)].numpy().tobytes()) for one, length in whole]


SINGLE_PROCESS = ProcessGroup()


def _buckets(gradients: Sequence[Any]) -> Iterator[list[Any]]:
    """Group neighbours of one type and device, at most _BUCKET_BYTES in each group."""
    bucket: list[Any] = []
    held = 0
    for one in gradients:
        alike = not bucket or (one.dtype, one.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or held + one.nbytes > _BUCKET_BYTES):
            yield bucket
            bucket, held = [], 0
        bucket.append(one)
        held += one.nbytes
    if bucket:
        yield bucket


@contextmanager
def _contact() -> Iterator[None]:
    # torch reports every failure of another rank as a plain RuntimeError.
    import torch

    try:
        yield
    except torch.OutOfMemoryError:  # a failure of this rank
        raise
    except RuntimeError as error:
        raise PeerLostError(
            "Another process of this run has died. Run the same command again to resume from the "
            f"last checkpoint. ({_short(first_line(error))})"
        ) from error


def _short(text: str) -> str:
    # gloo's texts start with a position in its source.
    return re.sub(r"^\[[^\]]*\] ", "", text)[:80]
