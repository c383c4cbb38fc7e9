"""A text -> a short name for it, by the rule of FastChat's and QLoRA's files."""

import hashlib
import uuid

_DIGITS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"  # none to be mistaken
_LENGTH = 22  # digits that 128 bits need


def short_id(text: str) -> str:
    """The version-5 UUID of `text` among domain names, in base 57: 22 letters."""
    # uuid.uuid5 refuses half a character, which a model can well write.
    name = uuid.NAMESPACE_DNS.bytes + text.encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(name, usedforsecurity=False).digest()
    number, letters = uuid.UUID(bytes=digest[:16], version=5).int, ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        letters = _DIGITS[digit] + letters
    return letters.rjust(_LENGTH, _DIGITS[0])
