"""RunConfig, its rows and the memory of its GPUs -> where the base will be, before it is loaded."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from anima_exp.config import ActivationCheckpointing, RunConfig
from anima_exp.errors import ModelError
from anima_exp.model.device_map import meta_model, modules_of
from anima_exp.model.target_modules import select
from anima_exp.planner.activations import kept_by_block
from anima_exp.planner.execution import Execution, Placement, choose_execution, fastest
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.gpus import MIDDLING, Gpu
from anima_exp.planner.memory import GIB, MemoryModel, Rows
from anima_exp.planner.shape import Block, Shape, from_model
from anima_exp.planner.weights import block_bytes, dequantized_copy, trained

# A model, and the memory of one process's cards -> which card holds which blocks.
#
# The blocks keep their order, so that a batch passes from card to card once, and are divided such
# that the fullest card has as much room left as possible: embeddings are on the first, norm and
# head on the last one. One card computes at a time.


_EXACT = 2**20  # bytes, to which the room on the fullest card is looked for


def choose_spread(
    shape: Shape,
    config: RunConfig,
    rows: Rows,
    *,
    available: Sequence[float],
    card: Gpu = MIDDLING,
) -> Execution:
    """The fastest way that fits, with the blocks divided over cards that have so many bytes free.

    Where nothing fits, it is the way that needs least, with `fits=False`.
    """
    needs = MemoryModel(shape, config, rows, expandable=card.expandable)
    cards = SeveralCards(needs, tuple(available))
    return fastest(cards, config, card=card, placement=Placement.spread, cards=len(available))


@dataclass(frozen=True)
class SeveralCards:
    """Of one process, each with some of the blocks."""

    needs: MemoryModel
    cards: tuple[float, ...]  # bytes that tensors may take on each

    @property
    def available(self) -> float:
        return max(self.cards)

    def lacks(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        return -self.division(budget, recompute, keep, paged=paged).room

    def peak(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> float:
        return max(self.division(budget, recompute, keep, paged=paged).taken)

    def division(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, *, paged: bool
    ) -> "BlockAssignment":
        return divide(self._parts(budget, recompute, keep, paged), self.cards)

    def _parts(
        self, budget: int, recompute: ActivationCheckpointing, keep: bool, paged: bool
    ) -> "Parts":
        needs, shape = self.needs, self.needs.shape
        growing = 1 + needs.unused
        whole = needs.memory(budget, recompute, keep_dequantized=keep)
        loss = whole.states + max(0, whole.logits - whole.activations.working)
        blocks: list[float] = []
        kept = 0
        resident = whole.resident - (needs.trained.pageable if paged else 0)
        for one in self._blocks:
            own = one.resident + (one.copy if whole.copy else 0) - (one.pageable if paged else 0)
            passing = budget * kept_by_block(shape, one.block, needs.config, recompute, needs.gpu)
            cast = whole.buffer * one.weights / shape.linear_weights if self._full else 0
            blocks += [own + cast + growing * passing] * one.block.count
            kept += passing * one.block.count
            resident -= own * one.block.count
        tables = shape.embeddings + shape.other + shape.head + shape.norms
        behind = resident * (shape.head + shape.norms) / tables
        first, last = resident - behind + growing * (whole.activations.kept - kept), behind
        if shape.head:  # else it is the embeddings themselves, and the loss is computed with them
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
            resident = block_bytes(shape, block, config)
            pageable = 0
            adapted = select(
                block.linears,
                config.lora.target_modules,
                hidden=shape.hidden,
                names=config.lora.layers,
            )
            if self._full or adapted:
                learns = trained(only, config)
                resident += learns.total
                pageable = learns.pageable
            copy = dequantized_copy(only, config)
            found.append(_OfBlock(block, only.linear_weights, resident, copy, pageable))
        return found


@dataclass(frozen=True)
class _OfBlock:
    """Bytes of one such block."""

    block: Block
    weights: int  # elements of its matrices
    resident: int  # its weights and what learns in it, with gradients and optimizer states
    copy: int  # its 4-bit weights, dequantised
    pageable: int  # of what is resident


@dataclass(frozen=True)
class Parts:
    """What the cards divide. Bytes."""

    first: float  # what is before the blocks
    blocks: list[float]
    last: float  # what is behind them
    everywhere: float  # what every card needs while it computes


@dataclass(frozen=True)
class BlockAssignment:
    """Which card has what."""

    cards: list[int]  # of each block: its card
    taken: list[float]  # bytes on each card
    room: float  # that the fullest has left; less than none where it does not fit


def divide(parts: Parts, available: Sequence[float]) -> BlockAssignment:
    """Onto cards in their order, the least room left on one as large as can be."""
    # The embeddings stay with the first block, the head with the last.
    units = list(parts.blocks)
    units[0] += parts.first
    units[-1] += parts.last
    sums = [0.0, *accumulate(units)]

    def ends(room: float) -> list[int]:
        """Of each card, the block behind its last one."""
        found, at = [], 0
        for free in available:
            most = sums[at] + free - parts.everywhere - room
            at = max(at, bisect_right(sums, most) - 1)
            found.append(at)
        return found

    most, least = max(available), min(available) - sums[-1] - parts.everywhere - _EXACT
    while most - least > _EXACT:
        middle = (most + least) / 2
        if ends(middle)[-1] == len(units):
            least = middle
        else:
            most = middle
    until = ends(least)
    begins = [0, *until[:-1]]
    places = [n for n, (a, b) in enumerate(zip(begins, until, strict=True)) for _ in range(b - a)]
    taken = [
        sums[b] - sums[a] + parts.everywhere if b > a else 0.0
        for a, b in zip(begins, until, strict=True)
    ]
    room = min(free - own for free, own in zip(available, taken, strict=True) if own)
    return BlockAssignment(places, taken, room)


_AUTO = "auto"


@dataclass(frozen=True)
class PlacementDecision:
    execution: Execution  # its `placement` says whether the base is whole, sharded or spread
    device_map: Mapping[str, int] | None = None  # where it is spread: module -> GPU


def place_base(
    config: RunConfig,
    rows: Rows,
    *,
    available: float,
    gpus: Callable[[], Sequence[float]] | None = None,
    processes: int = 1,
    gpu: bool = True,
    card: Gpu = MIDDLING,
) -> PlacementDecision:
    """Whole if that fits; of several processes sharded, of one spread over the GPUs it sees.

    What trainer.fsdp and model.device_map say is done whether it is needed or not.

    Args:
        rows: of the data that is trained on; with several processes, the largest share of one.
        available: free bytes of this process's device. Several processes must all give the least
            that one of them has, or they choose differently.
        gpus: the free bytes of every GPU that this process sees, where it sees several; asked
            only if it may use them.
        processes: that divide the rows of a batch.
        card: whose speed decides; how much memory it is sold with does not matter.

    Raises:
        ModelError: the blocks fit no division over the GPUs, or their names cannot be found.
    """
    shape = find_shape(config.model)
    whole = choose_execution(
        shape, config, rows, available=available, gpu=gpu, shares=processes, card=card
    )
    wanted = config.model.device_map
    if not gpu or gpus is None or processes > 1:
        return PlacementDecision(whole)
    if wanted != _AUTO and (wanted is not None or whole.fits):
        return PlacementDecision(whole)
    return _spread(config, rows, gpus(), card)


def _spread(
    config: RunConfig, rows: Rows, available: Sequence[float], card: Gpu
) -> PlacementDecision:
    limit = (config.model.max_memory_gib or float("inf")) * GIB
    cards = tuple(min(free, limit) for free in available)
    model = meta_model(config.model)
    shape, modules = from_model(model), modules_of(model)
    if len(modules.blocks) != shape.layers:
        raise ModelError(
            f"model.device_map=auto cannot place {type(model).__name__}: its blocks do not form "
            "one sequence. Use model.device_map=balanced, which lets accelerate place it."
        )
    found = choose_spread(shape, config, rows, available=cards, card=card)
    if not found.fits:
        raise ModelError(_too_large(config, found, cards))
    needs = MemoryModel(shape, config, rows, expandable=card.expandable)
    return PlacementDecision(found, modules.on(_cards(SeveralCards(needs, cards), found)))


def _cards(several: SeveralCards, how: Execution) -> list[int]:
    """Of each block its card, when a batch is executed so."""
    rows = several.needs.rows
    budget = min(max(how.token_budget, rows.longest), max(rows.batch_tokens, rows.longest))
    divided = several.division(budget, how.recompute, how.keep_dequantized, paged=how.paged)
    return divided.cards


def _too_large(config: RunConfig, found: Execution, cards: tuple[float, ...]) -> str:
    limit = config.model.max_memory_gib
    held = ", ".join(f"{card / GIB:.1f}" for card in cards)
    allowed = f" (model.max_memory_gib={limit:g})" if limit else ""
    why = "model.device_map=auto" if config.model.device_map else "No single GPU holds this run"
    return (
        f"{why}: spread over {len(cards)} GPUs, {config.model.name} needs "
        f"{found.predicted_peak_gib:.1f} GiB on the fullest one, but they have {held} "
        f"GiB{allowed}. Use more GPUs, shorter rows (data.max_prompt_tokens, "
        "data.max_response_tokens), a smaller lora.rank or a smaller model. anima-exp plan shows "
        "the memory that the run needs."
    )
