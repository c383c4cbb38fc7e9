"""One section of the page: a heading, a lead that says how to read it, a body."""

from dataclasses import dataclass

from anima_exp.page.words import escaped


@dataclass(frozen=True)
class Section:
    name: str  # in the address
    short: str  # in the contents
    heading: str
    lead: str  # HTML, as the body
    body: str

    def html(self) -> str:
        lead = f'<p class="lead">{self.lead}</p>\n' if self.lead else ""
        return (
            f'<section id="{self.name}" aria-labelledby="{self.name}-heading">\n'
            f'<h2 id="{self.name}-heading">{escaped(self.heading)}</h2>\n{lead}{self.body}\n'
            "</section>"
        )
