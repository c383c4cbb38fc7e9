"""Choose who receives the events of a call: no one, the terminal, or a function of the user."""

from contextlib import AbstractContextManager

from anima_exp.events import Listener, listening


def event_context(verbose: bool, on_event: Listener | None = None) -> AbstractContextManager[None]:
    """Return the context in which a call emits its events."""
    if on_event is None and verbose:
        from anima_exp.display.terminal_view import TerminalView

        on_event = TerminalView()
    return listening(on_event)
