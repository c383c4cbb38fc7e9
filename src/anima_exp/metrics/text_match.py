"""Compare two answers."""


def answers_match(answer: str, reference: str) -> bool:
    """Return whether the answers are equal except for white space and one final full stop."""
    return _plain(answer) == _plain(reference)


def _plain(text: str) -> str:
    text = " ".join(text.split())
    return text[:-1].rstrip() if text.endswith((".", "。")) else text
