"""Write the report on a data set as one self-contained HTML page."""

from anima_exp.data.report.page.build import write_page

__all__ = ["write_page"]
