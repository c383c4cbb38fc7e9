"""The one shape every dataset becomes before it meets a tokenizer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.errors import DataError

Row = Mapping[str, Any]

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Example:
    """One training pair. The loss is taken on `response` (data.train_on_source: on both)."""

    prompt: str
    response: str
    special_tokens: bool = False  # a special token that the text spells becomes that token

    def __post_init__(self) -> None:
        # A recipe of the user's own may hand over anything; a tokenizer fails without a row number.
        for name, value in (("prompt", self.prompt), ("response", self.response)):
            if not isinstance(value, str):
                raise DataError(f"the {name} is not text but {type(value).__name__}")
            if has_half_a_character(value):
                raise DataError(f"the {name} holds half a character (a lone surrogate)")
        if not self.response or self.response.isspace():
            raise DataError("the response is empty")


def has_half_a_character(text: str) -> bool:
    """A lone surrogate, which JSON can hold, and neither a tokenizer nor a file in UTF-8."""
    return bool(_HALF_A_CHARACTER.search(text))


def missing_column(row: Row, column: str) -> DataError:
    found = ", ".join(map(str, row)) or "none"
    return DataError(f"no column '{column}', which data.recipe reads; the row has {found}")
