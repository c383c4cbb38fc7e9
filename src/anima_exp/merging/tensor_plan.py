"""Plan a merge: what happens to each tensor of a base, and which file it is written to."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import MergeConfig, MergeTarget
from anima_exp.errors import ModelError
from anima_exp.merging.adapter import Adapter, Update, dequantized, merge_weight
from anima_exp.merging.base import Base, Layers
from anima_exp.merging.experts import (
    StackPlan,
    is_of_experts,
    merged_stack,
    updates_of_stacks,
)
from anima_exp.model.adapter_files import added_tokens
from anima_exp.model.base import DTYPES, device

_HEAD_OR_EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight", "wte.weight")


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor of the merged model is made."""

    name: str  # in the base's files and in the merged model's
    dtype: torch.dtype
    bytes: int
    update: Update | None = None
    whole: str | None = None  # name in the adapter of a full tensor that replaces this one
    rounded: bool = False  # first quantized to 4 bits and dequantized, as in training
    transposed: bool = False
    stack: StackPlan | None = None  # of experts, which this tensor is a part of


@dataclass(frozen=True)
class Plan:
    config: MergeConfig
    base: Base
    adapter: Adapter
    shards: list[list[TensorPlan]]
    layers: Layers
    # The stacks whose parts are written now: those of a layer alternate in files.
    _stacks: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def pieces(self) -> list[TensorPlan]:
        return [piece for shard in self.shards for piece in shard]

    @property
    def bytes(self) -> int:
        return sum(piece.bytes for piece in self.pieces)

    def merged(self, piece: TensorPlan) -> Tensor:
        """Return the merged tensor.

        Raises:
            ModelError: if its numbers are not finite in the type that it is stored in.
        """
        weight = self._of_stack(piece.stack)[piece.name] if piece.stack else self._read(piece.name)
        if piece.whole:
            weight = self.adapter.tensors.read(piece.whole)
        if piece.rounded:
            weight = dequantized(
                weight,
                self.config.quant,
                dtype=DTYPES[self.config.trainer.precision],
                where=device(),
                transposed=piece.transposed,
            )
        if update := piece.update:
            read = self.adapter.tensors.read
            weight = merge_weight(
                weight,
                read(update.a),
                read(update.b),
                update.scale,
                magnitude=read(update.magnitude) if update.magnitude else None,
                transposed=piece.transposed,
            )
        stored = weight.to(piece.dtype, copy=True).contiguous()
        if stored.is_floating_point() and not stored.isfinite().all():
            raise ModelError(
                f"{piece.name} holds numbers that are not finite in {short(piece.dtype)}. "
                "Use dtype=bf16. If that fails too, the adapter or the base is damaged."
            )
        return stored

    def _read(self, name: str) -> Tensor:
        return self.base.tensors.read(name)

    def _of_stack(self, stack: StackPlan) -> dict[str, Tensor]:
        if stack.name not in self._stacks:
            for other in [*self._stacks][: max(0, len(self._stacks) - 1)]:
                del self._stacks[other]
            self._stacks[stack.name] = merged_stack(
                stack,
                self.base.tensors,
                self.adapter.tensors,
                self.layers,
                self.config.quant,
                dtype=DTYPES[self.config.trainer.precision],
                where=device(),
            )
        return self._stacks[stack.name]


def plan(config: MergeConfig, base: Base, adapter: Adapter) -> Plan:
    """Plan the merge of an adapter into a base.

    Raises:
        ModelError: if the adapter does not belong to the base, or the merge is not supported.
    """
    layers = base.layers(config.quant)
    in_files = _names_in_files(base, layers)
    adapter = _without_tied(adapter, base, in_files)
    stacks = _stacks(config, base, adapter, layers)
    _check(config, base, adapter, layers, in_files)
    dtype = store_in(config, base.dtype)
    rounded = layers.quantized if config.target is MergeTarget.dequantized else frozenset()
    in_memory = {file: name for name, file in in_files.items()}
    pieces = []
    for name, entry in base.tensors.entries.items():
        # Keep the type of the few tensors that the base stores in another type on purpose.
        kept = dtype if entry.dtype == base.dtype else entry.dtype
        called = in_memory.get(name, "")
        module, _, part = called.rpartition(".")
        matrix = part == "weight"
        pieces.append(
            TensorPlan(
                name,
                kept,
                entry.numbers * kept.itemsize,
                update=adapter.updates.get(module) if matrix else None,
                whole=adapter.whole.get(called),
                rounded=matrix and module in rounded,
                transposed=module in layers.transposed,
                stack=stacks.get(name),
            )
        )
    shards = _shards(pieces, int(config.max_shard_gib * 2**30))
    return Plan(config, base, adapter, shards, layers)


def _stacks(
    config: MergeConfig, base: Base, adapter: Adapter, layers: Layers
) -> dict[str, StackPlan]:
    """Return the stacks of experts that change, by the name of each of their tensors in files.

    Raises:
        ModelError: if an update of experts fits no stack, or a stack cannot be written again.
    """
    updates, matched = updates_of_stacks(adapter, layers)
    for key in adapter.updates:
        if is_of_experts(key, layers) and key not in matched:
            raise _another_base(adapter, base, f"its update {key} fits no experts of the base")
    rounded = config.target is MergeTarget.dequantized
    result: dict[str, StackPlan] = {}
    if not rounded and not updates:
        return result
    in_files = layers.names.in_memory(base.tensors.entries)
    for name, (count, inputs, outputs) in layers.stacks.items():
        if not rounded and name not in updates:
            continue
        files = in_files.get(name, [])
        sizes = (inputs, outputs) if name in layers.turned else (outputs, inputs)
        again = len(files) == 1 and not layers.names.is_made(files[0])
        if not again and not layers.names.come_apart(name, files, (count, *sizes)):
            raise _renamed(base, name)
        one = StackPlan(name, tuple(files), updates.get(name), rounded)
        result |= dict.fromkeys(files, one)
    return result


def store_in(config: MergeConfig, of_base: torch.dtype) -> torch.dtype:
    """Return `dtype`, by default the base's own type, so that other tensors do not change."""
    if config.dtype:
        return DTYPES[config.dtype]
    if of_base.itemsize == 2:
        return of_base
    computed = DTYPES[config.trainer.precision]
    return computed if computed.itemsize == 2 else torch.bfloat16


def short(dtype: torch.dtype) -> str:
    return {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}.get(
        dtype, str(dtype).removeprefix("torch.")
    )


def _names_in_files(base: Base, layers: Layers) -> dict[str, str]:
    """Return the name in the files of each parameter, by its name in memory."""
    return {
        called: files[0]
        for called, files in layers.names.in_memory(base.tensors.entries).items()
        if called in layers.parameters
        and len(files) == 1
        and (called in layers.stacks or not layers.names.is_made(files[0]))
    }


def _without_tied(adapter: Adapter, base: Base, in_files: dict[str, str]) -> Adapter:
    """Return the adapter without the second copy of a table that embeddings and head share.

    Raises:
        ModelError: if the adapter holds one of the two, or they differ.
    """
    tables = [name for name in adapter.whole if name.endswith(_HEAD_OR_EMBEDDINGS)]
    if not tables or not base.config.get("tie_word_embeddings"):
        return adapter
    first, *others = (adapter.tensors.read(adapter.whole[name]) for name in tables)
    if not others or not all(torch.equal(first, one) for one in others):
        raise ModelError(
            f"adapter={adapter.place} holds a trained {tables[0]}, which this base shares between "
            "embeddings and head. This command cannot separate them. Try PEFT's merge_and_unload."
        )
    kept = {
        name: key for name, key in adapter.whole.items() if name not in tables or name in in_files
    }
    return replace(adapter, whole=kept)


def _check(
    config: MergeConfig, base: Base, adapter: Adapter, layers: Layers, in_files: dict[str, str]
) -> None:
    of_layers = {key: one for key, one in adapter.updates.items() if not is_of_experts(key, layers)}
    wanted = [f"{module}.weight" for module in of_layers] + list(adapter.whole)
    if config.target is MergeTarget.dequantized:
        wanted += [f"{module}.weight" for module in layers.quantized]
    for name in wanted:
        if name.rpartition(".")[0] not in layers.modules:
            raise _another_base(adapter, base, f"the base has no {name}")
        if name not in in_files:
            raise _renamed(base, name)
    shape = {name: base.tensors.entries[file].shape for name, file in in_files.items()}
    of_adapter = {name: entry.shape for name, entry in adapter.tensors.entries.items()}
    for module, update in of_layers.items():
        ours: Any = (of_adapter[update.b][0], of_adapter[update.a][-1])
        theirs = shape[f"{module}.weight"]
        theirs = theirs[::-1] if module in layers.transposed else theirs
        if ours != theirs:
            difference = f"{module} is {_by(ours)} in the adapter, {_by(theirs)} in the base"
            raise _another_base(adapter, base, difference)
    for name, key in adapter.whole.items():
        rows = of_adapter[key][0] if of_adapter[key] else 0
        vocabulary, where = base.vocabulary, f"adapter={adapter.place}"
        if error := added_tokens(f".{name}", rows, vocabulary, where, base.model.source):
            raise error
        if of_adapter[key] != shape[name]:
            difference = (
                f"{name} is {_by(of_adapter[key])} in the adapter, {_by(shape[name])} in the base"
            )
            raise _another_base(adapter, base, difference)


def _renamed(base: Base, name: str) -> ModelError:
    return ModelError(
        f"The files of model.source={base.model.source} hold no {name}: transformers makes it of "
        "other weights while loading, which this command does not support. Use PEFT's "
        "merge_and_unload."
    )


def _another_base(adapter: Adapter, base: Base, difference: str) -> ModelError:
    return ModelError(
        f"adapter={adapter.place} was trained on a base other than {base.model.source}: "
        f"{difference}. Choose its base with model=NAME."
    )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _shards(pieces: list[TensorPlan], most: int) -> list[list[TensorPlan]]:
    """Divide the tensors over files of at most `most` bytes, in order; a larger one is alone."""
    shards: list[list[TensorPlan]] = [[]]
    room = most
    for piece in pieces:
        if piece.bytes > room and shards[-1]:
            shards.append([])
            room = most
        shards[-1].append(piece)
        room -= piece.bytes
    return shards
