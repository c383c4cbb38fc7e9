"""What would be sent, and what was -> the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from anima_exp.card.front_matter import UNDECIDED
from anima_exp.program import console
from anima_exp.publish.files import CARD, File
from anima_exp.publish.hub import Sent
from anima_exp.results.screen import file_size, show_plan
from anima_exp.tables import terminal
from anima_exp.tables.column import Column
from anima_exp.terminal import visible


def show(
    files: Sequence[File],
    folder: Path,
    push: str,
    *,
    private: bool,
    head: Mapping[str, object] | None,
) -> None:
    from huggingface_hub import constants

    who = "private" if private else "public: everyone can read it"
    size = file_size(sum(file.size for file in files))
    show_plan(
        {
            "from": str(folder),
            "to": f"{push} on {constants.ENDPOINT}, {who}",
            "in all": f"{len(files)} files, {size}, one commit",
        }
    )
    names = Column("file", [file.name for file in files], right=False)
    sizes = Column("size", [file_size(file.size) for file in files])
    console().print(terminal.table([names, sizes]))
    say("")
    _show_head(head)


def show_sent(sent: Sent) -> None:
    who = "private" if sent.private else "public"
    say(f"Sent: {sent.address} ({who})")
    if sent.kept:
        say(f"Files that were there before stay there: {', '.join(sent.kept)}")


def say(text: str) -> None:
    terminal.say(console(), text)


def _show_head(head: Mapping[str, object] | None) -> None:
    if head is None:
        say(f"There is no card: {CARD} is missing, and the hub will show an empty page.")
        return
    show_plan({key: visible(_told(value)) for key, value in head.items()} or {"card": "no head"})
    if head.get("license") in (None, UNDECIDED):
        say(f"The card names no licence: choose one in the head of {CARD}, as base and data allow.")


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
