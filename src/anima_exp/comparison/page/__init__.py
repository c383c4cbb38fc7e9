"""Write a comparison as one self-contained HTML page with tables, plots and answers."""

from anima_exp.comparison.page.build import write_page

__all__ = ["write_page"]
