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

_AT_ONCE = 256  # rows sorted by length whose micro-batches are planned together


def heldout_loss(
    model: "PreTrainedModel | PeftModel",
    rows: "TokenizedDataset",
    config: HeldoutConfig,
    world: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """Nats per label token, over all label tokens of the first `config.max_rows` rows.

    Every token weighs the same: a mean of batch means, as the Trainer gives, would let short
    answers weigh more. Call inside `inference`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    by_length = world.local_slice(
        sorted(range(count), key=lambda number: -int(rows.lengths[number]))
    )
    budget = config.batch_tokens if supports_packing(model) else 1
    total, labelled = 0.0, 0.0
    with packed_attention(model):
        for start in range(0, len(by_length), _AT_ONCE):
            some = [rows[number] for number in by_length[start : start + _AT_ONCE]]
            for chosen in pack_first_fit([len(row["input_ids"]) for row in some], budget):
                batch = pack_rows(some, chosen, [1.0] * len(some)).to(model.device)
                total += float(loss_of(model, batch))
                labelled += len(batch.labels)
    total, labelled = world.all_reduce_sum(total, labelled)
    return total / max(labelled, 1)
