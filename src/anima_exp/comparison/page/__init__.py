"""A comparison -> one HTML page with everything in it: tables, plots, answers, no network."""

from anima_exp.comparison.page.build import write_page

__all__ = ["write_page"]
