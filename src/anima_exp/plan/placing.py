"""RunConfig, its rows and the memory of its GPUs -> where the base will be, before it is loaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from anima_exp.config import RunConfig
from anima_exp.errors import ModelError
from anima_exp.model.device_map import modules_of, without_weights
from anima_exp.plan.cards import MIDDLING, Card
from anima_exp.plan.choose import Execution, choose
from anima_exp.plan.find_shape import find_shape
from anima_exp.plan.memory import GIB, Needs, Rows
from anima_exp.plan.shape import from_model
from anima_exp.plan.spread import SeveralCards, choose_spread

_AUTO = "auto"


@dataclass(frozen=True)
class Placed:
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
    card: Card = MIDDLING,
) -> Placed:
    """Whole if that fits; of several processes sharded, of one spread over the GPUs it sees.

    What trainer.shard_base and model.device_map say is done whether it is needed or not.

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
    whole = choose(shape, config, rows, available=available, gpu=gpu, shares=processes, card=card)
    wanted = config.model.device_map
    if not gpu or gpus is None or processes > 1:
        return Placed(whole)
    if wanted != _AUTO and (wanted is not None or whole.fits):
        return Placed(whole)
    return _spread(config, rows, gpus(), card)


def _spread(config: RunConfig, rows: Rows, available: Sequence[float], card: Card) -> Placed:
    limit = (config.model.max_memory_gib or float("inf")) * GIB
    cards = tuple(min(free, limit) for free in available)
    model = without_weights(config.model)
    shape, modules = from_model(model), modules_of(model)
    if len(modules.blocks) != shape.layers:
        raise ModelError(
            f"model.device_map=auto: {type(model).__name__} is not made of blocks in one row. "
            "Use model.device_map=balanced, which is accelerate's way."
        )
    found = choose_spread(shape, config, rows, available=cards, card=card)
    if not found.fits:
        raise ModelError(_too_large(config, found, cards))
    needs = Needs(shape, config, rows, expandable=card.expandable)
    return Placed(found, modules.on(_cards(SeveralCards(needs, cards), found)))


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
        f"{found.predicted_peak_gib:.1f} GiB on the fullest; they have {held} GiB{allowed}. "
        "Use more GPUs, shorter rows (data.max_prompt_tokens, data.max_response_tokens), a "
        "smaller lora.rank or a smaller model; python -m anima_exp.plan shows what it needs."
    )
