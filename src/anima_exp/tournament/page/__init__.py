"""A tournament -> one HTML page with everything in it: ratings, matrix, categories, no network."""

from anima_exp.tournament.page.build import write_page

__all__ = ["write_page"]
