"""Compute the parts of a model that mix tokens outside attention row by row, in a packed pass.

Linear attention, state-space models and short convolutions pass a state from token to token. Packed
rows would see each other through it. So these modules, and nothing else, are called once per row:
norms, feed-forward layers, experts and attention still compute all rows at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from anima_exp.libraries.transformers_internals import mixes_tokens
from anima_exp.model.hashed_dropout import DropoutKeys

# Arguments that describe all rows, of which a call for one row must know nothing.
_OF_ALL_ROWS = frozenset(
    ("micro_batch", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
)


class Rows:
    """What the mixers of one model must know of the current micro-batch.

    `lengths` are those of its rows. `dropout` has the keys of its tokens, if LoRA layers need them.
    """

    def __init__(self) -> None:
        self.lengths: tuple[int, ...] = ()
        self.dropout: DropoutKeys | None = None

    @contextmanager
    def only(self, start: int, end: int) -> Iterator[None]:
        """Inside, LoRA layers compute the tokens from `start` to `end`."""
        keys = self.dropout
        if keys is None or keys.now is None:
            yield
            return
        whole = keys.now
        keys.now = whole[start:end]
        try:
            yield
        finally:
            keys.now = whole


def mixers(model: nn.Module) -> list[nn.Module]:
    """Return the modules that mix tokens outside attention, without modules inside of them."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():  # a module comes before those inside of it
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        if mixes_tokens(module):
            found[name] = module
    return list(found.values())


@contextmanager
def by_row(modules: Sequence[nn.Module], rows: Rows) -> Iterator[None]:
    """Inside, call the forward pass of each module once per row of `rows`."""
    before = [(module, module.__dict__.get("forward")) for module in modules]
    for module in modules:
        module.forward = partial(_forward, module.forward, rows)
    try:
        yield
    finally:
        for module, forward in before:
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.forward = forward


def _forward(forward: Callable[..., Any], rows: Rows, *inputs: Any, **named: Any) -> Any:
    lengths = rows.lengths
    if len(lengths) <= 1:
        return forward(*inputs, **named)
    parts, start, total = [], 0, sum(lengths)
    for length in lengths:
        end = start + length
        with rows.only(start, end):
            parts.append(
                forward(
                    *(_part(one, start, end, total) for one in inputs),
                    **{
                        name: _part(one, start, end, total)
                        for name, one in named.items()
                        if name not in _OF_ALL_ROWS
                    },
                )
            )
        start = end
    return _join(parts)


def _part(value: object, start: int, end: int, total: int) -> Any:
    """Return the part of `value` that belongs to one row; a value without tokens is returned."""
    if isinstance(value, tuple | list):
        return type(value)(_part(one, start, end, total) for one in value)
    if not isinstance(value, Tensor) or value.ndim < 2:
        return value
    axis = next((axis for axis, size in enumerate(value.shape[:3]) if size == total), None)
    return value if axis is None or axis == 0 else value.narrow(axis, start, end - start)


def _join(parts: Sequence[Any]) -> Any:
    """Concatenate the rows' results; of what is no tensor with tokens, keep that of the last."""
    first = parts[0]
    if isinstance(first, tuple | list):
        return type(first)(_join(some) for some in zip(*parts, strict=True))
    if isinstance(first, Tensor) and first.ndim >= 3:
        return torch.cat(list(parts), dim=1)
    return parts[-1]
