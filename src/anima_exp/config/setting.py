"""Describe a setting in the dataclass field that holds it.

    rank: int = setting(64, "Rank of the update.", above=0, largest=65_536)

The range checks, the run's name, the tables of a comparison, --help, the reference page and the
JSON schema all read it from here (config/catalogue.py). No other module lists settings.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from typing import Any

FIRST_VERSION = "0.1"  # the settings of this version are in the hash of every name
LARGEST_SEED = 2**32 - 1  # numpy's and transformers' limit
# omegaconf.MISSING: a setting that must be given. Importing OmegaConf takes 0.08 s, and commands
# without Hydra do not need it.
MISSING: Any = "???"
_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """The description of one setting, or of a group of settings."""

    about: str  # one plain sentence, for --help and the reference page
    unit: str | None = None  # what a number counts: tokens, rows, steps, GiB, seconds

    # The range of a number.
    above: float | None = None  # it must be greater
    at_least: float | None = None  # the smallest value
    below: float | None = None  # it must be less
    at_most: float | None = None  # the largest value with a meaning
    largest: float | None = None  # beyond it a number is a slip of the pen: a rank of 10 million

    # True if results depend on it, and so the run's name. False for a group means that
    # nothing in the group counts.
    in_name: bool = True
    label: str | None = None  # its heading in tables; null = the last part of its key

    # What keeps names when the product changes. A setting of a later version enters a name only
    # if it differs from `as_before`: the value at which a run computes what it did without the
    # setting. That value stays when the default changes.
    since: str = FIRST_VERSION
    as_before: Any = None
    # Earlier names, the first one first: `steps` is a name in the same group, `trainer.steps` the
    # whole key, `.seed` a key of the root.
    formerly: tuple[str, ...] = ()
    # Earlier names of a yes-or-no setting that meant the opposite, which enters no run's name.
    formerly_not: tuple[str, ...] = ()
    former_values: Mapping[str, str] | None = None  # earlier names of its values -> today's

    def allows(self, value: float) -> bool:
        """Return whether a number has a meaning; `largest` has no part in it."""
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    def range_text(self) -> str | None:
        """Return `must be greater than 0 and at most 1`; None if every number has a meaning."""
        if self.at_least is not None and self.at_most is not None:
            return f"must be from {_number(self.at_least)} to {_number(self.at_most)}"
        bounds = {
            "greater than": self.above,
            "at least": self.at_least,
            "less than": self.below,
            "at most": self.at_most,
        }
        parts = [f"{text} {_number(end)}" for text, end in bounds.items() if end is not None]
        return f"must be {' and '.join(parts)}" if parts else None


def setting(default: object, about: str, **known: Any) -> Any:
    """Return a dataclass field with its description.

    Args:
        default: the value, or a type that makes one: `list`, or a dataclass for a group.
        about: one plain sentence.
        known: the other fields of `Setting`.
    """
    metadata = {_KEY: Setting(about, **known)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def described(one: Field[Any]) -> Setting:
    """Return a field's description.

    Raises:
        TypeError: if the field has none.
    """
    result = one.metadata.get(_KEY)
    if not isinstance(result, Setting):
        raise TypeError(f"The field {one.name} has no description: declare it with setting(...).")
    return result


def _number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:.0f}"
