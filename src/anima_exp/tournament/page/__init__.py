"""Write a tournament as one self-contained HTML page: ratings, win matrix, categories."""

from anima_exp.tournament.page.build import write_page

__all__ = ["write_page"]
