"""Compute the loss of neutral text, and how much it has risen since before training.

    forgetting = neutral_loss after - neutral_loss before

Both readings are on the same rows, so the interval of the difference is over pairs of rows. It is
that of a ratio: the sum of the rows' differences over the sum of their tokens.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from anima_exp.config import ForgettingConfig
from anima_exp.data.micro_batch import label_count, pack_first_fit, pack_rows
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.evals.neutral_text import NeutralText
from anima_exp.metrics.intervals import Interval, around
from anima_exp.metrics.metric import FORGETTING, NEUTRAL_LOSS

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from anima_exp.evals.evaluator import EvalResult


@dataclass(frozen=True)
class TextLosses:
    """The losses of the rows of a text, as one model has them."""

    text: str  # the fingerprint of the rows
    sums: tuple[float, ...]  # of each row, in nats
    counts: tuple[int, ...]  # predicted tokens of each row

    @property
    def mean(self) -> float:
        """The loss per token."""
        return math.fsum(self.sums) / max(sum(self.counts), 1)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "sums": list(self.sums), "counts": list(self.counts)}


class Journal(Protocol):
    """The journal of a run (results/journal.py), as far as it is needed here."""

    def text(self, step: int) -> dict[str, Any] | None: ...


def text_losses(
    model: "PreTrainedModel | PeftModel",
    text: NeutralText,
    config: ForgettingConfig,
    world: ProcessGroup = SINGLE_PROCESS,
) -> TextLosses:
    """Return the loss of each row. Several processes share the rows.

    Call it inside `inference_mode`.
    """
    from anima_exp.model.forward import row_losses
    from anima_exp.model.varlen_attention import packed_attention, supports_packing

    rows = text.rows
    by_length = sorted(range(len(rows)), key=lambda number: -len(rows[number]["input_ids"]))
    mine = [rows[number] for number in world.local_slice(by_length)]
    numbers = world.local_slice(by_length)
    budget = config.batch_tokens if supports_packing(model) else 1
    sums: dict[int, float] = {}
    with packed_attention(model):
        for taken in pack_first_fit([len(row["input_ids"]) for row in mine], budget):
            batch = pack_rows(mine, taken, [1.0] * len(mine)).to(model.device)
            losses = row_losses(model, batch).tolist()
            sums |= {numbers[one]: loss for one, loss in zip(taken, losses, strict=True)}
    every: dict[int, float] = {}
    for part in world.all_gather(sums):
        every |= {int(number): loss for number, loss in part.items()}  # JSON has texts for keys
    counts = tuple(map(label_count, rows))
    return TextLosses(text.fingerprint, tuple(every[n] for n in range(len(rows))), counts)


def scores_of(losses: TextLosses) -> dict[str, float]:
    """Return the score of one reading."""
    return {NEUTRAL_LOSS: losses.mean}


def since_start(result: "EvalResult", step: int, journal: Any, world: ProcessGroup) -> "EvalResult":
    """Return `result` with the score `forgetting`, which is 0 before training.

    Without the losses before training, which an old or damaged journal may lack, there is none.

    Args:
        journal: that of the main process counts.
    """
    if result.text is None:
        return result
    after = result.text
    rise = world.run_on_main(lambda: _rise(journal.text(0) if step else after.to_json(), after))
    return replace(result, scores=result.scores | rise)


def _rise(before: Mapping[str, Any] | None, after: TextLosses) -> dict[str, float]:
    interval = difference(before, after.to_json())
    return {FORGETTING: interval.mean} if interval else {}


def intervals(journal: Journal, step: int) -> dict[str, list[float]]:
    """Return the 95 % interval of `forgetting` at a step, for record.json."""
    interval = difference(journal.text(0), journal.text(step))
    if interval is None or interval.low is None or interval.high is None:
        return {}
    return {FORGETTING: [interval.low, interval.high]}


def difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Interval | None:
    """Return the rise of the loss per token; None without two readings of the same rows.

    Args:
        before, after: lines of neutral_text.jsonl.
    """
    if not before or not after or before["text"] != after["text"]:
        return None
    counts: list[int] = after["counts"]
    rises = [b - a for a, b in zip(before["sums"], after["sums"], strict=True)]
    rows, tokens = len(counts), sum(counts)
    mean = math.fsum(rises) / tokens
    if rows < 2:
        return Interval(mean, None, None, rows)
    residuals = (rise - mean * count for rise, count in zip(rises, counts, strict=True))
    error = math.sqrt(rows / (rows - 1) * math.fsum(one**2 for one in residuals)) / tokens
    return around(mean, error, rows - 1, n=rows)
