"""An answer as it grows -> what a terminal may show of it already."""

from collections.abc import Callable, Sequence

from anima_exp.terminal import visible


class Stream:
    """Writes what is new of an answer each time it is told the text so far.

    Held back until more is known: half a character, white space at the end, and what may yet
    become a stop string. Control characters are spelled out.
    """

    def __init__(self, write: Callable[[str], None], stops: Sequence[str]) -> None:
        self.write, self.stops = write, stops
        self.text = ""  # shown so far

    def __call__(self, text: str) -> None:
        self._show(_certain(text.lstrip(), self.stops))

    def end(self, text: str) -> None:
        """Show the rest of the whole answer, and end the line."""
        self._show(text.strip())
        self.write("\n")

    def _show(self, text: str) -> None:
        new = text[len(self.text) :]
        if new:
            self.write(visible(new))
            self.text += new


def _certain(text: str, stops: Sequence[str]) -> str:
    text = text.rstrip("\ufffd")  # a token may end inside a character
    begun = [
        length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])
    ]
    return text[: len(text) - max(begun, default=0)].rstrip()
