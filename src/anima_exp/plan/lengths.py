"""RunConfig -> how many rows there are and how long they are, as far as it is known unread."""

from dataclasses import dataclass
from math import ceil

from anima_exp import paths
from anima_exp.config import RunConfig, TrainerConfig
from anima_exp.plan.memory import Rows
from anima_exp.plan.read_lengths import read_lengths
from anima_exp.results import known_lengths

# The largest of thousands of random batches, in mean ones. An assumption.
_LARGEST_BATCH = 1.5


@dataclass(frozen=True)
class Lengths:
    told: str  # where the figures are from
    rows: int | None  # to learn from
    mean_tokens: float  # of one row
    mean_labels: float  # of these, label tokens
    largest: Rows

    def steps(self, config: RunConfig) -> int | None:
        """Optimizer steps of the run; None where epochs are to be counted in unknown rows."""
        trainer = config.trainer
        if trainer.steps is not None:
            return trainer.steps
        return None if self.rows is None else optimizer_steps(trainer, self.rows)


def rows_in_all(trainer: TrainerConfig, rows: int) -> int:
    """Return how many rows a run trains on, repeats counted, if there are `rows` of them.

    `trainer.epochs` counts rows exactly: with epochs=2 every row is used twice, and the last
    batch is short if the batches do not come out even.
    """
    if trainer.steps is not None:
        return trainer.steps * trainer.batch_size
    assert trainer.epochs is not None
    # Rounded first: 1.1 x 1000 is a little more than 1100 in binary.
    return max(1, ceil(round(trainer.epochs * rows, 6)))


def optimizer_steps(trainer: TrainerConfig, rows: int) -> int:
    """Return the number of optimizer steps of a run over `rows` rows."""
    return ceil(rows_in_all(trainer, rows) / trainer.batch_size)


def lengths(config: RunConfig) -> Lengths:
    """From a run that read the same data; else from a local file; else what is typical of the set.

    If nothing is known, rows are as long as the limits.

    Raises:
        DataError: a row of the file cannot be used.
    """
    data = config.data
    most = data.max_prompt_tokens + data.max_response_tokens
    cache = paths.cache(config.cache)
    known = known_lengths.recall(config, cache=cache)
    told = "read by an earlier run"
    if known is None and (known := read_lengths(config)):
        known_lengths.remember(config, known, cache=cache)
        told = "read from the file"
    rows: int | None
    labels: float | None
    if known is not None:
        rows, mean, labels = known.rows, known.mean_tokens, known.mean_label_tokens
    elif data.typical is not None:
        told = "typical of the set" + ("" if data.source == "sample" else ", in LLaMA's tokens")
        rows, mean = data.typical.rows, data.typical.mean_tokens
        labels = data.typical.mean_label_tokens
    else:
        told = "unknown: as long as the limits allow, so the most it can cost"
        rows, mean, labels = None, float(most), None
    mean = min(mean, float(most))
    if data.train_on_source:
        labels = mean
    elif labels is None:
        labels = mean * data.max_response_tokens / most
    labels = min(labels, mean)
    if rows is not None:
        rows = min(rows, data.max_train_samples or rows)
    return Lengths(told, rows, mean, labels, _largest(config, most, mean, labels))


def _largest(config: RunConfig, most: int, mean: float, labels: float) -> Rows:
    batch = config.trainer.batch_size
    if not config.trainer.group_by_length:
        tokens = min(batch * most, ceil(_LARGEST_BATCH * batch * mean))
        return Rows(most, max(most, tokens), ceil(max(most, tokens) * labels / mean))
    response = most if config.data.train_on_source else config.data.max_response_tokens
    return Rows(most, batch * most, batch * response)
