"""What errors.py promises to those who report errors."""

import pytest

from anima_exp.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("disk full\nat block 7"), "disk full"),
        (ValueError("\n\nsecond line"), "second line"),
        (TimeoutError(), "TimeoutError"),
        (EOFError("  \n"), "EOFError"),
    ],
)
def test_every_exception_has_a_first_line_also_one_without_text(error, line):
    assert first_line(error) == line
