"""Choose where the base model goes before it is loaded: on one GPU, sharded, or over several GPUs.

With a device map, one process holds some of the decoder blocks on each GPU. The blocks keep their
order, so a batch passes from GPU to GPU once. They are divided so that the fullest GPU has as much
free memory as possible. The embeddings are on the first GPU, the last norm and the head on the last
one. One GPU computes at a time.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.data import formats
from anima_exp.errors import ModelError
from anima_exp.model.device_map import meta_model, modules_of
from anima_exp.planner.activations import kept_by_block
from anima_exp.planner.adapted import adapted_in
from anima_exp.planner.execution import Execution, Placement, choose_execution, fastest
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.gpus import DEFAULT_GPU, Gpu
from anima_exp.planner.memory import GIB, MemoryModel, Rows
from anima_exp.planner.shape import Block, Shape, from_model
from anima_exp.planner.weights import block_bytes, dequantized_copy, trained

_EXACT = 2**20  # bytes: the search for the best division stops at this precision


def choose_spread(
    shape: Shape,
    config: RunConfig,
    rows: Rows,
    *,
    available: Sequence[float],
    gpu_type: Gpu = DEFAULT_GPU,
) -> Execution:
    """Return the fastest execution that fits if the blocks are divided over several GPUs.

    If nothing fits, return the one that needs least memory, with `fits=False`.

    Args:
        available: bytes that tensors may take, for each GPU.
    """
    needs = MemoryModel(shape, config, rows, expandable=gpu_type.expandable)
    device = SeveralGpus(needs, tuple(available))
    return fastest(
        device, config, gpu_type=gpu_type, placement=Placement.spread, num_gpus=len(available)
    )


@dataclass(frozen=True)
class SeveralGpus:
    """The GPUs of one process, each with some of the blocks."""

    needs: MemoryModel
    free_bytes: tuple[float, ...]  # bytes that tensors may take on each

    @property
    def available(self) -> float:
        return max(self.free_bytes)

    def lacks(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        return -self.division(budget, recompute, keep, paged=paged).free

    def peak(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        return max(self.division(budget, recompute, keep, paged=paged).taken)

    def division(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> "BlockAssignment":
        return divide(self._parts(budget, recompute, keep, paged), self.free_bytes)

    def _parts(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, paged: bool
    ) -> "Parts":
        needs, shape = self.needs, self.needs.shape
        growing = 1 + needs.unused
        whole = needs.memory(budget, recompute, keep_dequantized=keep)  # of all blocks together
        loss = whole.states + max(0, whole.logits - whole.activations.working)
        blocks: list[float] = []
        kept = 0
        static = whole.static - (needs.trained.pageable if paged else 0)
        for one in self._blocks:
            own = one.static + (one.copy if whole.copy else 0) - (one.pageable if paged else 0)
            dynamic = budget * kept_by_block(shape, one.block, needs.config, recompute, needs.gpu)
            cast = whole.buffer * one.weights / shape.linear_weights if self._full else 0
            blocks += [own + cast + growing * dynamic] * one.block.count
            kept += dynamic * one.block.count
            static -= own * one.block.count
        tables = shape.embeddings + shape.other + shape.head + shape.norms
        after = static * (shape.head + shape.norms) / tables
        first, last = static - after + growing * (whole.activations.kept - kept), after
        if shape.head:  # otherwise the head is the embeddings, and the loss is on the first GPU
            last += growing * loss
        else:
            first += growing * loss
        everywhere = growing * whole.activations.working + (0 if self._full else whole.buffer)
        return Parts(first, blocks, last, everywhere)

    @cached_property
    def _full(self) -> bool:
        return self.needs.config.lora.is_full_finetune

    @cached_property
    def _blocks(self) -> list["_OfBlock"]:
        shape, config, found = self.needs.shape, self.needs.config, []
        for block in shape.blocks:
            only = shape.only(block)
            static = block_bytes(shape, block, config)
            pageable = 0
            adapted = adapted_in(shape, block, config.lora)
            if self._full or adapted:
                learns = trained(only, config)
                static += learns.total
                pageable = learns.pageable
            copy = dequantized_copy(only, config)
            found.append(_OfBlock(block, only.linear_weights, static, copy, pageable))
        return found


@dataclass(frozen=True)
class _OfBlock:
    """Bytes of one such block."""

    block: Block
    weights: int  # elements of its matrices
    static: int  # its weights, and its trained weights with gradients and optimizer states
    copy: int  # the dequantized copy of its 4-bit weights
    pageable: int  # the part of `static` that can move to CPU memory


@dataclass(frozen=True)
class Parts:
    """The bytes to divide over the GPUs."""

    first: float  # before the blocks
    blocks: list[float]
    last: float  # after the blocks
    everywhere: float  # needed by every GPU while it computes


@dataclass(frozen=True)
class BlockAssignment:
    """The GPU of each block, and the memory that this takes."""

    gpu_of_block: list[int]
    taken: list[float]  # bytes on each GPU
    free: float  # bytes that the fullest GPU has left; negative if the division does not fit


def divide(parts: Parts, available: Sequence[float]) -> BlockAssignment:
    """Divide the blocks over the GPUs in order, so that the fullest GPU has most memory left.

    Args:
        available: bytes that tensors may take, for each GPU.
    """
    # The embeddings stay with the first block, the head with the last one.
    units = list(parts.blocks)
    units[0] += parts.first
    units[-1] += parts.last
    sums = [0.0, *accumulate(units)]

    def ends(left: float) -> list[int]:
        """Return the block after the last one of each GPU, if each keeps `left` bytes free."""
        found, at = [], 0
        for free in available:
            limit = sums[at] + free - parts.everywhere - left
            at = max(at, bisect_right(sums, limit) - 1)
            found.append(at)
        return found

    # Search for the most bytes that every GPU can keep free.
    high, low = max(available), min(available) - sums[-1] - parts.everywhere - _EXACT
    while high - low > _EXACT:
        middle = (high + low) / 2
        if ends(middle)[-1] == len(units):
            low = middle
        else:
            high = middle
    stops = ends(low)
    starts = [0, *stops[:-1]]
    gpus = [n for n, (a, b) in enumerate(zip(starts, stops, strict=True)) for _ in range(b - a)]
    taken = [
        sums[b] - sums[a] + parts.everywhere if b > a else 0.0
        for a, b in zip(starts, stops, strict=True)
    ]
    left = min(free - own for free, own in zip(available, taken, strict=True) if own)
    return BlockAssignment(gpus, taken, left)


_AUTO = "auto"


@dataclass(frozen=True)
class PlacementDecision:
    """How a run is executed, and the device map if its base model is spread over GPUs."""

    execution: Execution  # its `placement` says whether the base is whole, sharded or spread
    device_map: Mapping[str, int] | None = None  # module -> GPU, if it is spread


def place_base(
    config: RunConfig,
    rows: Rows,
    *,
    available: float,
    gpus: Callable[[], Sequence[float]] | None = None,
    processes: int = 1,
    gpu: bool = True,
    gpu_type: Gpu = DEFAULT_GPU,
) -> PlacementDecision:
    """Choose the placement of the base model and the execution.

    By default the base model stays whole if it fits. Otherwise several processes shard it, and one
    process spreads it over the GPUs that it sees. trainer.fsdp and model.device_map override this.

    Args:
        rows: of the training data; with several processes, the largest part of one process.
        available: free bytes of this process's device. Several processes must all pass the minimum
            over them, or they choose differently.
        gpus: returns the free bytes of every GPU that this process sees; None if it sees one. It
            is called only if the process may use several.
        processes: the number of processes that divide the rows of a batch.
        gpu_type: whose speed decides; its nominal memory does not matter.

    Raises:
        ModelError: if the blocks do not fit on the GPUs, or the model's blocks are not a sequence.
    """
    shape = find_shape(config.model)
    whole = choose_execution(
        shape, config, rows, available=available, gpu=gpu, shares=processes, gpu_type=gpu_type
    )
    wanted = config.model.device_map
    if not gpu or gpus is None or processes > 1:
        return PlacementDecision(whole)
    if wanted != _AUTO and (wanted is not None or whole.fits):
        return PlacementDecision(whole)
    return _spread(config, rows, gpus(), gpu_type)


def _spread(
    config: RunConfig, rows: Rows, available: Sequence[float], gpu_type: Gpu
) -> PlacementDecision:
    limit = (config.model.max_memory_gib or float("inf")) * GIB
    free_bytes = tuple(min(free, limit) for free in available)
    model = meta_model(config.model)
    shape, modules = from_model(model), modules_of(model)
    if len(modules.blocks) != shape.layers:
        raise ModelError(
            f"model.device_map=auto cannot place {type(model).__name__}: its blocks do not form "
            "one sequence. Use model.device_map=balanced, which lets accelerate place it."
        )
    found = choose_spread(shape, config, rows, available=free_bytes, gpu_type=gpu_type)
    if not found.fits:
        raise ModelError(_too_large(config, found, free_bytes))
    needs = MemoryModel(shape, config, rows, expandable=gpu_type.expandable)
    return PlacementDecision(
        found, modules.on(_gpu_of_each_block(SeveralGpus(needs, free_bytes), found))
    )


def _gpu_of_each_block(several: SeveralGpus, how: Execution) -> list[int]:
    """Return the GPU of each block for this execution."""
    rows = several.needs.rows
    budget = min(max(how.token_budget, rows.longest), max(rows.batch_tokens, rows.longest))
    divided = several.division(budget, how.recompute, how.keep_dequantized, paged=how.paged)
    return divided.gpu_of_block


def _too_large(config: RunConfig, execution: Execution, free_bytes: tuple[float, ...]) -> str:
    limit = config.model.max_memory_gib
    chat = formats.holds_conversations(config.data.recipe)
    limits = "data.max_tokens" if chat else "data.max_prompt_tokens, data.max_response_tokens"
    held = ", ".join(f"{free / GIB:.1f}" for free in free_bytes)
    allowed = f" (model.max_memory_gib={limit:g})" if limit else ""
    why = "model.device_map=auto" if config.model.device_map else "No single GPU holds this run"
    return (
        f"{why}: spread over {len(free_bytes)} GPUs, {config.model.name} needs "
        f"{execution.predicted_peak_gib:.1f} GiB on the fullest one, but they have {held} "
        f"GiB{allowed}. Use more GPUs, shorter rows ({limits}), a smaller lora.rank or a smaller "
        "model. anima-exp plan shows the memory that the run needs."
    )
