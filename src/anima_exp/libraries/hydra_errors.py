"""Read Hydra's and OmegaConf's errors: what kind of mistake, about which key, in which file.

Neither library has an error class for each kind of mistake, so their English texts are matched,
here and nowhere else. cli/error_messages.py writes our own line for each kind. If a release
changes a text, it is read as None: the user then sees the library's first line.
tests/contracts/test_hydra_errors.py makes Hydra raise every kind.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """A kind of mistake. The comments name the parts of the text in Mistake.parts."""

    no_slurm = auto()
    no_choice = auto()  # choice: `model/lama7b`
    group_as_number = auto()
    bad_defaults = auto()  # file
    wrong_kind = auto()  # given: list, str
    unreadable = auto()  # override: where the grammar ends
    inside_null = auto()
    bad_value = auto()  # key, value
    no_group = auto()  # choice
    several_values = auto()  # override
    wrong_type = auto()  # value, if the text has it
    no_removal = auto()  # key
    no_override = auto()  # key
    needless_plus = auto()  # key
    missing = auto()  # key
    broken_reference = auto()  # target
    while_composing = auto()  # what: the first line of the error inside


@dataclass(frozen=True)
class Mistake:
    """The content of an error."""

    kind: Kind
    parts: Mapping[str, str]
    key: str | None  # OmegaConf's full_key
    file: str | None  # as Hydra calls it: `lora/mine`


def read(error: BaseException) -> Mistake | None:
    """Return what Hydra or OmegaConf says with `error`; None for a text that is not known."""
    text = _whole_text(error)
    for pattern, kind in _PATTERNS:
        if match := re.search(pattern, text, re.DOTALL):
            key = re.search(r"full_key: (\S+)", text)
            file = re.search(r"In '([^']+)'", text)
            return Mistake(
                kind, match.groupdict(), key[1] if key else None, file[1] if file else None
            )
    return None


def answers_an_override(error: Exception) -> bool:
    """Return whether an error that is not Hydra's own class is its answer to a bad override."""
    patterns = (_GROUP_AS_NUMBER, _INSIDE_NULL, _NO_LIST, _NO_SUCH_PAIR)
    return any(re.search(pattern, str(error)) for pattern in patterns)


def says_no_plug_in(error: RuntimeError) -> bool:
    """Return whether Hydra did not find the class of a launcher: its package is not installed."""
    return str(error).startswith("Unknown plugin class")


def _whole_text(error: BaseException) -> str:
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:
        parts.append(f"{seen}")
        if key := getattr(seen, "full_key", None):
            parts.append(f"full_key: {key}")
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


_NO_LIST = r"Invalid defaults list in '(?P<file>[^']+)', defaults must be a list"
_NO_SUCH_PAIR = r"flag can only be used in conjunction|Only one of --run, --multirun"
_GROUP_AS_NUMBER = "Config group override must be a string or a list"
_INSIDE_NULL = "Unexpected type for root: NoneType"

# The first pattern that matches counts.
_PATTERNS = (
    (r"Could not (?:find|load) 'hydra/launcher/submitit_slurm'", Kind.no_slurm),
    (r"Could not (?:find|load) '(?P<choice>[^']+)'", Kind.no_choice),
    (_GROUP_AS_NUMBER, Kind.group_as_number),
    (_NO_LIST, Kind.bad_defaults),
    (r"Cannot merge DictConfig with (?P<given>List)Config", Kind.wrong_kind),
    (r"LexerNoViableAltException: (?P<override>[^\n]*)", Kind.unreadable),
    (r"Merge error: (?P<given>\w+) is not a subclass of", Kind.wrong_kind),
    (_INSIDE_NULL, Kind.inside_null),
    (r"Error merging override (?P<key>[\w.]+)=(?P<value>\S+)", Kind.bad_value),
    (
        r"(?:no viable alternative|mismatched input|extraneous input).*? '(?P<override>[^']*)'",
        Kind.unreadable,
    ),
    (
        r"Could not override '(?P<choice>[\w./-]+)'\.\s*No match in the defaults list",
        Kind.no_group,
    ),
    (r"Ambiguous value for argument '(?P<override>[^']+)'", Kind.several_values),
    (r"Value '(?P<value>.*?)' (?:of type|is not|could not)", Kind.wrong_type),
    (r"Invalid value '(?P<value>.*?)', expected one of", Kind.wrong_type),
    (r"Cannot assign (?P<value>\S+?)[ =]", Kind.wrong_type),
    (r"field '\w+' is not Optional|Incompatible value 'None' for field", Kind.wrong_type),
    (r"Could not delete from config\.\s*'(?P<key>[\w.]+)'", Kind.no_removal),
    (r"Error merging override ~(?P<key>[\w.]+)", Kind.no_removal),
    (r"Could not append to config\. An item is already at '(?P<key>[\w.]+)'", Kind.needless_plus),
    (r"Could not (?:override|append to) config.*?'?(?P<key>[\w.]+)'?", Kind.no_override),
    (r"Could not override '(?P<key>[\w./-]+)'", Kind.no_override),
    (r"Key '(?P<key>[\w.]+)' (?:not in|is not in struct)", Kind.no_override),
    (r"[Mm](?:issing mandatory|andatory) value: (?P<key>[\w.]+)", Kind.missing),
    (r"Interpolation key '(?P<target>[\w.]+)' not found", Kind.broken_reference),
    (
        r"In '[^']+': \w+ raised while composing config:\n(?P<what>[^\n]+)",
        Kind.while_composing,
    ),
)
