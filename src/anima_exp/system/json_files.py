"""Read JSON of any origin, and check the schema versions of the files that this package writes.

Every problem with a text is a ValueError of one line. Python's own reader raises RecursionError for
a text that is nested some thousand levels deep, and for a number of more than 4,300 digits it
suggests raising a limit of the interpreter.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anima_exp.errors import NewerFileError


def parse(text: str | bytes, *, decode: Callable[[str], Any] = json.loads) -> Any:
    """Return the value of a JSON text; bytes must be UTF-8.

    Args:
        decode: another decoder, for example one that creates other objects.

    Raises:
        ValueError: if the text is not JSON (JSONDecodeError), or Python cannot represent it.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise ValueError(f"not UTF-8: byte 0x{byte:02x} at position {error.start}") from error
    try:
        return decode(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("values that are nested too deeply") from error
    except ValueError as error:
        raise ValueError("a number of too many digits") from error


def read_file(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: see `parse`.
    """
    return parse(path.read_bytes())


def read_table(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file does not contain a JSON object.
    """
    content = read_file(path)
    if not isinstance(content, dict):
        raise ValueError(f"it contains {kind(content)} instead of an object")
    return content


def kind(value: object) -> str:
    """Name the JSON type of a value in a few words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


# Every file that a later version may read has a schema version: in the key `schema_version` of a
# JSON file, in the first line of a JSON lines file, or in every line if users join such files. A
# file without it has version 0.
#
#     stamp({"loss": 1.5}, 2)                                     # {"schema_version": 2, ...}
#     read_versioned(values, file, 2, [unchanged, rename_loss])   # of any version up to 2
KEY = "schema_version"

# The newest version of each file. A change of its format raises the number and adds a migration
# where the file is read.
RECORD = 1  # record.json
SETTINGS = 1  # settings.json and inputs.json
LINES = 1  # metrics.jsonl, generations.jsonl, accuracies.jsonl, neutral_text.jsonl
MANIFEST = 1  # manifest.json of a checkpoint
METER = 1  # meter.json of a checkpoint
STATE = 1  # state.json of a checkpoint
BEST = 1  # best.json of a checkpoint
SWEEP = 1  # sweep.json
STUDY = 1  # our values in study.jsonl, whose format is Optuna's
EVALUATION = 1  # evaluations/*.json
COMPARISON = 1  # compare --format json
ANSWERS = 1  # answers.jsonl, in every line
VERDICTS = 1  # the judge's verdicts, in every line
RATINGS = 1  # elo --out
MERGE = 1  # merge.json
TOKENS = 1  # cache/tokens/*/meta.json
MASKED_TOKENS = 1  # meta.json of the rows of conversations
LENGTHS = 1  # cache/lengths/*.json
HASHES = 1  # cache/hashes/*.json
SNAPSHOT = 1  # cache/bases/*/SNAPSHOT

Values = dict[str, Any]
Migration = Callable[[Values], Values]


def stamp(values: Mapping[str, Any], version: int) -> Values:
    """Return `values` with their schema version in front."""
    return {KEY: version, **values}


def version_of(values: Mapping[str, Any]) -> int:
    """Return the schema version of a file's content.

    Raises:
        ValueError: if the version is not a whole number of at least 0.
    """
    found = values.get(KEY, 0)
    if type(found) is not int or found < 0:
        raise ValueError(f"its {KEY} is {found if type(found) is int else kind(found)}")
    return found


def read_versioned(
    values: Mapping[str, Any],
    file: Path | str,
    version: int,
    migrations: Sequence[Migration] = (),
) -> Values:
    """Return a file's content in the format of `version`, without the number.

    Args:
        values: the file's content, of any version.
        file: the file, for the error message.
        version: the newest version that the caller reads.
        migrations: one function for each version: number n converts version n to n + 1. The last
            ones may be left out if they change nothing.

    Raises:
        NewerFileError: if the file has a later version.
        ValueError: if the version is not valid.
    """
    found = version_of(values)
    if found > version:
        raise NewerFileError(
            f"{file} has {KEY.replace('_', ' ')} {found}, but this version of anima-exp reads up "
            f"to {version}. Update anima-exp."
        )
    current = {key: value for key, value in values.items() if key != KEY}
    for migrate in migrations[found:version]:
        current = migrate(current)
    return current


def refuse_newer(row: Mapping[str, Any], where: str, version: int) -> None:
    """Raise NewerFileError for a line that a later version of anima-exp wrote.

    Other programs write such lines too, so a version that is not a whole number is ignored.
    """
    if type(row.get(KEY)) is int:
        read_versioned({KEY: abs(row[KEY])}, where, version)


def unchanged(values: Values) -> Values:
    """Return `values` unchanged: the migration for a version that did not change this file."""
    return values


def is_newer(file: Path, version: int) -> bool:
    """Return whether a later version of anima-exp wrote `file`; False if it does not exist."""
    try:
        return version_of(read_table(file)) > version
    except (OSError, ValueError):
        return False


def not_used(file: Path) -> str:
    """Return the remark about a file in the cache that a later version of anima-exp wrote."""
    return f"cache    {file} is not used and not changed: a later version of anima-exp wrote it"
