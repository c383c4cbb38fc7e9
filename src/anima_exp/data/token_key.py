"""Name a set of token ids by all that the ids depend on.

A run remembers this key of its data, and resumes only if it is still the same. So an edit of the
package must not change it unless it changes the ids of some row.
"""

import hashlib
import inspect
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anima_exp
from anima_exp.data.encode import special_ids

_FORMAT = 2  # raise it when the files' layout changes, or the ids of some text
# These stand for the shipped recipes and templates. They are the SHA-256 of example.py, recipes.py
# and templates.py in version 0.1.0, so that its sets are still used. An edit that changes the
# example of some row must change one of them. tests/data/test_token_key.py fails until it does.
_RECIPES = (
    "7f31ac776a8a2cccbbefb00e07cc4f40014bb1a36bd25dfb32da663a49898a47",
    "b4e8f7f246b70db114cc39187fb8441ef409e587928264b0bc8425123903523d",
    "d156eb6658efde99c6ac0b3b7d5796ddf2d278b2ccaa480141067d4562c49bf6",
)
_PACKAGE = Path(str(anima_exp.__file__)).parent
# Where the shipped recipes stood then. Their names enter the key with it.
_SHIPPED = "anima_exp.data.recipes"


def key(fingerprint: str, recipe: Callable[..., Any], tokenizer: Any, *, named: str) -> str:
    """Return 32 hex digits for the rows of `fingerprint`, read by `recipe` and tokenised.

    Args:
        named: data.recipe, which tells apart two functions that one function has made.
    """
    name, file = _place(recipe, named)
    shipped = file is not None and _PACKAGE in Path(file).parents
    parts = [
        str(_FORMAT),
        fingerprint,
        tokenizer.backend_tokenizer.to_str(),
        json.dumps(special_ids(tokenizer)),
        f"{_SHIPPED}.{recipe.__qualname__}" if shipped else name,
    ]
    hashes = [_sha256(part) for part in parts]
    code = [*_RECIPES]
    if file and file.endswith(".py") and not shipped:  # in the order of the files' paths
        own = _sha256(Path(file).read_text(encoding="utf-8"))
        code.insert(0 if Path(file) < _PACKAGE / "data" else len(code), own)
    return hashlib.sha256(b"".join(map(bytes.fromhex, hashes + code))).hexdigest()[:32]


def _place(recipe: Callable[..., Any], named: str) -> tuple[str, str | None]:
    """Return the full name of a recipe and the file that it is in."""
    name = getattr(recipe, "__qualname__", None)
    if name and "<" not in name:
        return f"{recipe.__module__}.{name}", getattr(inspect.getmodule(recipe), "__file__", None)
    # A lambda, a function inside a function, or an object: only its dotted path is its own.
    module = find_spec(named.rpartition(".")[0])
    return named, module.origin if module else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
