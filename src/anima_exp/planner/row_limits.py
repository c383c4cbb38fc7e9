"""Return how long a row of a data set may be, by its settings."""

from anima_exp.config import DataConfig, MixBy, TrainOn
from anima_exp.data import formats
from anima_exp.data.parts import parts_of


def longest_row(data: DataConfig) -> int:
    """Return the most tokens that a row may have."""
    if data.parts:
        return max(map(longest_row, parts_of(data).values()))
    if has_one_limit(data):
        return data.max_tokens
    return data.max_prompt_tokens + data.max_response_tokens


def most_labels(data: DataConfig) -> int:
    """Return the most tokens of a row that the loss may be computed on."""
    if data.parts:
        return max(map(most_labels, parts_of(data).values()))
    if data.train_on_source or has_one_limit(data):
        return longest_row(data)
    return data.max_response_tokens


def most_rows(data: DataConfig) -> int | None:
    """Return the most rows that an epoch may have by the settings; None if they do not say."""
    if data.parts:
        return data.mix_total if data.mix_by is MixBy.rows else None
    return data.max_rows


def is_all_trained_on(data: DataConfig) -> bool:
    """Return whether the loss is computed on every token of a row."""
    if has_one_limit(data):
        return data.train_on is TrainOn.all or formats.holds_documents(data.recipe)
    return data.train_on_source


def has_one_limit(data: DataConfig) -> bool:
    """Return whether the rows are conversations or text, which data.max_tokens limits."""
    return formats.holds_conversations(data.recipe) or formats.holds_documents(data.recipe)
