"""Compute the loss per response token of a model on the held-out rows."""

from typing import TYPE_CHECKING

from anima_exp.config import HeldoutConfig
from anima_exp.data.micro_batch import pack_first_fit, pack_rows
from anima_exp.data.mixed import MixedDataset
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.metrics.metric import HELDOUT_LOSS, part_score
from anima_exp.model.forward import loss_of
from anima_exp.model.varlen_attention import packed_attention, supports_packing

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from anima_exp.data.rows import TokenizedDataset

_ROWS_PER_PLAN = 256  # rows, sorted by length, that are packed into micro-batches together


def heldout_loss(
    model: "PreTrainedModel | PeftModel",
    rows: "TokenizedDataset",
    config: HeldoutConfig,
    world: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """Return the loss in nats per label token of the first `config.max_rows` rows."""
    return heldout_losses(model, rows, config, world)[HELDOUT_LOSS]


def heldout_losses(
    model: "PreTrainedModel | PeftModel",
    rows: "TokenizedDataset",
    config: HeldoutConfig,
    world: ProcessGroup = SINGLE_PROCESS,
) -> dict[str, float]:
    """Return the loss in nats per label token of the first `config.max_rows` rows, by its score.

    Every token has the same weight. A mean of batch means, as the Trainer of transformers computes
    it, would give the tokens of short answers more weight. A mixture also has a score for each
    part: heldout_loss_NAME. Its rows are in turn, so the first ones are of all parts. Call it
    inside `inference_mode`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    if not isinstance(rows, MixedDataset):
        return {HELDOUT_LOSS: _mean(_sums(model, rows, [*range(count)], config, world))}
    sums = {}
    for name in rows.parts:
        numbers = [number for number in rows.numbers_of(name).tolist() if number < count]
        sums[name] = _sums(model, rows, numbers, config, world)
    totals, labels = zip(*sums.values(), strict=True)
    scores = {HELDOUT_LOSS: _mean((sum(totals), sum(labels)))}
    return scores | {part_score(name): _mean(one) for name, one in sums.items() if one[1]}


def _mean(sums: tuple[float, float]) -> float:
    total, labelled = sums
    return total / max(labelled, 1)


def _sums(
    model: "PreTrainedModel | PeftModel",
    rows: "TokenizedDataset",
    numbers: list[int],
    config: HeldoutConfig,
    world: ProcessGroup,
) -> tuple[float, float]:
    """Return the sum of the losses of all label tokens of these rows, and their number."""
    by_length = world.local_slice(sorted(numbers, key=lambda number: -int(rows.lengths[number])))
    budget = config.batch_tokens if supports_packing(model) else 1
    total, labelled = 0.0, 0.0
    with packed_attention(model):
        for start in range(0, len(by_length), _ROWS_PER_PLAN):
            part = [rows[number] for number in by_length[start : start + _ROWS_PER_PLAN]]
            for chosen in pack_first_fit([len(row["input_ids"]) for row in part], budget):
                batch = pack_rows(part, chosen, [1.0] * len(part)).to(model.device)
                total += float(loss_of(model, batch))
                labelled += len(batch.labels)
    total, labelled = world.all_reduce_sum(total, labelled)
    return total, labelled
