"""Define the settings of a part of data=mixture, which override those of `data` for its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from anima_exp.config.data import DataConfig, Thinking, TooLong, TrainOn
from anima_exp.config.setting import setting


@dataclass
class MixturePart:
    """One part of a mixture: where its rows come from, and how much of it is trained on.

    A setting that is null has the value of `data`, except for the source of the rows.
    """

    weight: float | None = setting(
        None,
        "Share of the part, relative to the weights of the others, in the unit of data.mix_by; "
        "null for all parts = each row is used once.",
        above=0,
    )
    source: str | None = setting(
        None, "Id of a data set on the Hugging Face hub, or sample for the built-in tasks."
    )
    path: str | None = setting(None, "Local file to read instead of source.")
    subset: str | None = setting(None, "Configuration of the hub data set; null = its default one.")
    data_files: str | None = setting(None, "File inside the hub repository to read.")
    split: str | None = setting(None, "Split of the hub data set to train on.")
    revision: str | None = setting(None, "Commit, branch or tag of the hub repository.")
    recipe: str | None = setting(None, "Function that turns a row into an example: data.recipe.")
    max_rows: int | None = setting(None, "Read only the first rows.", unit="rows", above=0)
    heldout_rows: int | None = setting(
        None, "Rows of the part set aside for evaluation.", unit="rows", at_least=0
    )
    heldout_split: str | None = setting(None, "Split to take held-out rows from.")
    heldout_path: str | None = setting(None, "Local file to take held-out rows from.")
    train_on: TrainOn | None = setting(
        None, "Messages of a conversation that enter the loss: data.train_on."
    )
    thinking: Thinking | None = setting(None, "Treatment of thinking: data.thinking.")
    max_tokens: int | None = setting(
        None, "Longest conversation, or longest row of text.", unit="tokens", above=0
    )
    too_long: TooLong | None = setting(
        None, "Treatment of a conversation longer than max_tokens: data.too_long."
    )
    max_prompt_tokens: int | None = setting(None, "Longest prompt.", unit="tokens", above=0)
    max_response_tokens: int | None = setting(None, "Longest response.", unit="tokens", above=0)
    train_on_source: bool | None = setting(
        None, "If true, the loss covers the prompt as well as the response."
    )


# Settings of `data` that only a part of a mixture may have.
SOURCES = (
    *("path", "source", "subset", "data_files", "revision", "heldout_split", "heldout_path"),
)


def part_key(name: str) -> str:
    """Return the group of settings of a part: data.parts.poems."""
    return f"data.parts.{name}"


def part_of(given: object) -> MixturePart:
    """Return a part from its settings, which a record holds as a plain table.

    Raises:
        OmegaConfBaseException: if a setting has another type.
    """
    if isinstance(given, MixturePart):
        return given
    from omegaconf import OmegaConf

    assert isinstance(given, Mapping)
    known = {field.name for field in fields(MixturePart)}
    settings: Any = {str(key): value for key, value in given.items() if key in known}
    merged = OmegaConf.merge(OmegaConf.structured(MixturePart), settings)
    part = OmegaConf.to_object(merged)
    assert isinstance(part, MixturePart)
    return part


def parts_given(data: DataConfig) -> dict[str, MixturePart]:
    """Return the parts of a mixture by name, in the order of their names.

    The order in which a user writes them does not change the rows of a run.
    """
    return {str(name): part_of(data.parts[name]) for name in sorted(data.parts, key=str)}


def heldout_rows(data: DataConfig) -> int:
    """Return how many rows the settings hold out, of all parts of a mixture together."""
    return sum(heldout_rows_by_part(data).values()) if data.parts else data.heldout_rows


def heldout_rows_by_part(data: DataConfig) -> dict[str, int]:
    """Return how many rows the settings hold out of each part of a mixture."""
    return {
        name: data.heldout_rows if part.heldout_rows is None else part.heldout_rows
        for name, part in parts_given(data).items()
    }
