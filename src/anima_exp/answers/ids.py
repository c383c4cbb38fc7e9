"""A text -> a short name for it, by the rule of FastChat's and QLoRA's files."""

import uuid

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # none to be mistaken
_LENGTH = 22


def short_id(text: str) -> str:
    """The version-5 UUID of `text` among domain names, in base 57: 22 letters."""
    number, letters = uuid.uuid5(uuid.NAMESPACE_DNS, text).int, ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[digit]
    return letters.ljust(_LENGTH, _ALPHABET[0])[::-1]
