"""Multiply rows that are sorted by expert, each by the matrix of its expert."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Routing:
    """The expert of each row, in ascending order."""

    numbers: Tensor  # [rows]
    counts: Tensor  # [experts], the rows of each

    @classmethod
    def of(cls, numbers: Tensor, experts: int) -> "Routing":
        return cls(
            numbers,
            torch.zeros_like(numbers[:1])
            .expand(experts)
            .clone()
            .index_add(0, numbers, torch.ones_like(numbers)),
        )

    @cached_property
    def ends(self) -> Tensor:
        """[experts], the number of rows up to the end of each expert's."""
        return self.counts.cumsum(0).to(torch.int32)

    @cached_property
    def parts(self) -> list[tuple[int, slice]]:
        """Each expert with rows, and its rows. On a GPU this waits for the router."""
        found, start = [], 0
        for number, count in enumerate(self.counts.tolist()):
            if count:
                found.append((number, slice(start, start + count)))
            start += count
        return found


def product(
    x: Tensor,
    whole: Callable[[], Tensor],
    one: Callable[[int], Tensor],
    routing: Routing,
    turned: bool,
) -> Tensor:
    """Return x_e M_e, or x_e M_e^T if `turned`, for the matrices [experts, ., .] of `whole`.

    Args:
        one: the matrix of one expert, if so few have rows that the others need not be dequantized.
    """
    if _grouped(x):
        stack = whole()
        stack = stack.mT if turned else stack
        if stack.shape[1] % 8 == 0 and stack.shape[2] % 8 == 0:
            return functional.grouped_mm(x.contiguous(), stack, offs=routing.ends)
        matrices: Callable[[int], Tensor] = stack.__getitem__
    else:
        few = 2 * len(routing.parts) < len(routing.counts)
        take = one if few else whole().__getitem__
        matrices = (lambda number: take(number).mT) if turned else take
    parts = [x[rows] @ matrices(number) for number, rows in routing.parts]
    return torch.cat(parts)


def sums_of_products(left: Tensor, right: Tensor, routing: Routing) -> Tensor:
    """Return left_e^T right_e [experts, left's width, right's width]; zeros without rows."""
    wide = left.shape[1], right.shape[1]
    if _grouped(left) and not (wide[0] % 8 or wide[1] % 8):
        return functional.grouped_mm(left.contiguous().mT, right.contiguous(), offs=routing.ends)
    out = left.new_zeros(len(routing.counts), *wide)
    for number, rows in routing.parts:
        torch.mm(left[rows].mT, right[rows], out=out[number])
    return out


def _grouped(x: Tensor) -> bool:
    return (
        x.is_cuda
        and x.dtype is torch.bfloat16
        and hasattr(functional, "grouped_mm")
        and torch.cuda.get_device_capability(x.device) >= (8, 0)
    )
