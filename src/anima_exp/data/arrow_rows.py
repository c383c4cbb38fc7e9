"""Remove the fields that Arrow adds to nested objects.

In Parquet and in data sets of the hub, all objects of a column have the same fields. An object that
lacks one gets it with the value null. So the arguments of one tool would appear, as null, in the
calls of all others.
"""

from typing import Any

# The columns that hold messages and tools. In other columns a null may have a meaning.
_COLUMNS = frozenset(
    {
        "messages", "conversations", "conversation", "prompt", "completion", "chosen", "rejected",
        "tools",
    }
)  # fmt: skip


def without_added_fields(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row without fields that are null in the objects of messages and tools."""
    return {
        column: _cleaned(value) if column in _COLUMNS else value for column, value in row.items()
    }


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(inner) for key, inner in value.items() if inner is not None}
    return [_cleaned(inner) for inner in value] if isinstance(value, list) else value
