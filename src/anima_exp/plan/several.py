"""A run and a number of cards -> the ways to use them, each with its speed and memory."""

from dataclasses import dataclass

from anima_exp.config import RunConfig
from anima_exp.plan.cards import Card
from anima_exp.plan.choose import Execution, can_shard, choose
from anima_exp.plan.lengths import Lengths
from anima_exp.plan.shape import Shape
from anima_exp.plan.speed import OnCard, time_of_step
from anima_exp.plan.spread import choose_spread

MACHINES = (2, 4, 8)  # cards of one machine


@dataclass(frozen=True)
class Ways:
    """Of using cards of one kind; each may be one that does not fit."""

    copies: OnCard  # every process has a base of its own
    sharded: OnCard | None  # they share one; None where the settings do not allow it
    spread: OnCard  # one process has a part of the base on each card: a device map


def ways(shape: Shape, config: RunConfig, found: Lengths, card: Card, cards: int) -> Ways:
    """Of using so many of a kind for one run."""
    free = [card.available] * cards
    how = choose_spread(shape, config, found.largest, available=free, card=card)
    return Ways(
        copies=by_processes(shape, config, found, card, cards, shard=False),
        sharded=by_processes(shape, config, found, card, cards, shard=True)
        if can_shard(config)
        else None,
        spread=_timed(shape, config, found, card, how, cards, processes=1),
    )


def by_processes(
    shape: Shape,
    config: RunConfig,
    found: Lengths,
    card: Card,
    cards: int,
    *,
    shard: bool | None = None,
) -> OnCard:
    """One on each card; by default as the run would choose."""
    rows = found.largest.share(config.trainer.batch_size, cards)
    how = choose(
        shape, config, rows, available=card.available, shares=cards, shard=shard, card=card
    )
    return _timed(shape, config, found, card, how, cards, processes=cards)


def fewest(shape: Shape, config: RunConfig, found: Lengths, card: Card) -> list[OnCard]:
    """Of cards of a kind that one does not do: as many as it takes, sharded and spread."""
    fitting: dict[str, OnCard] = {}
    for cards in MACHINES:
        several = ways(shape, config, found, card, cards)
        for one in (several.sharded, several.spread):
            if one and one.execution.fits:
                fitting.setdefault(one.execution.placement.value, one)
    return list(fitting.values())


def _timed(
    shape: Shape,
    config: RunConfig,
    found: Lengths,
    card: Card,
    how: Execution,
    cards: int,
    *,
    processes: int,
) -> OnCard:
    step = time_of_step(shape, config, found, card, how, processes=processes)
    return OnCard(card, cards, how, step)
