"""A tournament -> the terminal, at whatever width it has."""

from rich.console import Console

from anima_exp.elo import texts
from anima_exp.elo.tournament import Tournament
from anima_exp.tables.terminal import fitting, say, table


def show(found: Tournament, console: Console) -> None:
    """Ends with whether the best can be told from the second."""
    say(console, f"{texts.summary(found)}.", style="dim")
    for one in texts.tables(found):
        console.print()
        shown, left_out = fitting(one.columns, console.width)
        say(console, one.title, style="bold")
        console.print(table(shown))
        if left_out:
            say(console, f"no room for {', '.join(left_out)}", style="dim")
        if one.note:
            say(console, one.note, style="dim")
    console.print()
    for sentence in texts.biases(found):
        say(console, sentence)
    for note in found.notes:
        say(console, note, style="yellow")
    console.print()
    say(console, found.conclusion, style="bold")
