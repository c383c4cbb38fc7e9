"""Text -> the short id that FastChat and QLoRA give an answer without one."""

import uuid

# Without the letters that are easily mistaken for one another; the order is the digits' value.
_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 22  # digits that 128 bits need


def short_id(text: str) -> str:
    """uuid5 of `text` in the DNS name space, in base 57, most significant digit first."""
    number = uuid.uuid5(uuid.NAMESPACE_DNS, text).int
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_LETTERS))
        digits.append(_LETTERS[digit])
    return "".join(reversed(digits))
