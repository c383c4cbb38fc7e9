"""A comparison for Python: as a data frame, a page, a table in a notebook, and as text."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.comparison import build as built
from anima_exp.comparison.columns import columns
from anima_exp.comparison.export import table_rows
from anima_exp.comparison.page import write_page
from anima_exp.display.notebook import html_table, text_table
from anima_exp.errors import ConfigError
from anima_exp.system.paths import expanded

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

_ROWS = 30  # in a notebook


class Comparison(built.Comparison):
    """Which run is better, and by how much. `print` shows it as text, a notebook as a table.

    Attributes:
        rows: one for each configuration, best first: `rank`, `cell` (its settings and runs),
            `score` (mean and 95 % interval over the seeds), `hours`, `memory_gib`.
        verdict: a sentence on whether the best configuration is better than chance can tell.
        conclusion: the same, after the answer to the question of the sweep.
        metric: the score that they are compared by, and which way it is better.
    """

    @classmethod
    def of(cls, comparison: built.Comparison) -> "Comparison":
        """Return `comparison` with the methods of this class."""
        return cls(**{one.name: getattr(comparison, one.name) for one in fields(comparison)})

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a data frame with one line for each row.

        It has the settings that differ, each score with its mean, interval (`_low`, `_high`) and
        number of seeds (`_n`), and the costs: steps, tokens, hours of training, GiB of memory.

        Raises:
            ConfigError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ConfigError(
                "to_pandas() needs pandas, which is not installed: pip install pandas"
            ) from None
        heads, lines = table_rows(self)
        return pandas.DataFrame(lines, columns=heads)

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained page with plots, and return where it is.

        Raises:
            RunError: if the file cannot be written.
        """
        file = expanded(path)
        write_page(file, self)
        return file

    def __str__(self) -> str:
        if not self.rows:
            return self._nothing
        return "\n".join([text_table(columns(self, self.shown)), "", *self._sentences])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.rows:
            return html_table([], below=[self._nothing])
        rows = self.shown[:_ROWS]
        more = len(self.shown) - len(rows)
        return html_table(
            columns(self, rows),
            below=[*([f"{more} more rows are not shown."] if more else []), *self._sentences],
            bold=[place for place, row in enumerate(rows) if row.rank == 1],
        )

    @property
    def _nothing(self) -> str:
        return f"Nothing to compare: {self.counted() or 'no runs'}."

    @property
    def _sentences(self) -> list[str]:
        notes = (self.left_out, self.repeated, self.caution)
        return [*self.conclusion, *(one for one in notes if one)]
