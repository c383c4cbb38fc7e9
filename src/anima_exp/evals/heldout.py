"""A model and the rows set aside -> the loss per response token."""

from typing import Any

from anima_exp.config import HeldoutConfig
from anima_exp.data.micro_batch import concatenate, cut
from anima_exp.distributed.world import ALONE, World
from anima_exp.model.forward import loss_of
from anima_exp.model.varlen_attention import keeps_rows_apart, rows_apart

_AT_ONCE = 256  # rows sorted by length whose micro-batches are planned together


def heldout_loss(model: Any, rows: Any, config: HeldoutConfig, world: World = ALONE) -> float:
    """Nats per label token, over all label tokens of the first `config.max_rows` rows.

    Every token weighs the same: a mean of batch means, as the Trainer gives, would let short
    answers weigh more. Call inside `inference`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    by_length = world.mine(sorted(range(count), key=lambda number: -int(rows.lengths[number])))
    budget = config.batch_tokens if keeps_rows_apart(model) else 1
    total, labelled = 0.0, 0.0
    with rows_apart(model):
        for start in range(0, len(by_length), _AT_ONCE):
            some = [rows[number] for number in by_length[start : start + _AT_ONCE]]
            for chosen in cut([len(row["input_ids"]) for row in some], budget):
                batch = concatenate(some, chosen, [1.0] * len(some)).to(model.device)
                total += float(loss_of(model, batch))
                labelled += len(batch.labels)
    total, labelled = world.total(total, labelled)
    return total / max(labelled, 1)
