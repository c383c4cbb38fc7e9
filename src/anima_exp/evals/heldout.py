"""Compute the loss per response token of a model on the held-out rows."""

from typing import TYPE_CHECKING

from anima_exp.config import HeldoutConfig
from anima_exp.data.micro_batch import pack_first_fit, pack_rows
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
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
    """Return the loss in nats per label token of the first `config.max_rows` rows.

    Every token has the same weight. A mean of batch means, as the Trainer of transformers computes
    it, would give the tokens of short answers more weight. Call it inside `inference_mode`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    by_length = world.local_slice(
        sorted(range(count), key=lambda number: -int(rows.lengths[number]))
    )
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
    return total / max(labelled, 1)
