"""Format sizes, counts and hours for a plan."""


def size(count: float) -> str:
    """Format bytes with a binary unit: 16.9 GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.{_digits(count / 2**power)}f} {unit}"
    return f"{count:,.0f} B"


def decimal_size(count: float) -> str:
    """Format bytes with a decimal unit: 390 GB."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:,.{_digits(count / 10**power)}f} {unit}"
    return f"{count:,.0f} B"


def format_count(count: float) -> str:
    """Format a large count: 43.5 M."""
    for unit, power in (("T", 12), ("B", 9), ("M", 6)):
        if count >= 10**power:
            return f"{count / 10**power:,.{_digits(count / 10**power)}f} {unit}"
    return f"{count:,.0f}"


def hours(count: float | None) -> str:
    if count is None:
        return "-"
    if count < 1:
        return f"{count * 60:.0f} min" if count >= 1 / 60 else "< 1 min"
    return f"{count:,.{_digits(count)}f} h"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2
