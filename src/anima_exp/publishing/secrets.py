"""Detect keys and tokens in texts, without repeating them in a message."""

import os
import re
from collections.abc import Iterable, Sequence

from anima_exp.errors import ConfigError

# Each pattern starts with fixed letters, so that a vocabulary of megabytes is searched quickly.
_SHAPES = {
    "a token of the Hugging Face hub": (r"hf_[A-Za-z0-9]{30,}",),
    "a key of Weights & Biases": (
        r"wandb_v1_\w{30,}",
        *(
            rf"{name}\b.{{0,20}}?\b[0-9a-f]{{40}}\b"
            for name in ("wandb", "WANDB", "WANDB_API_KEY", "api_key", "apiKey", "API_KEY")
        ),
    ),
    "a key of OpenAI or the like": (r"sk-(?<!\wsk-)[A-Za-z0-9_-]{20,}",),
    "a token of GitHub": (r"gh[opsu]_[A-Za-z0-9]{36}", r"github_pat_\w{40,}"),
    "a key of AWS": (r"AKIA[0-9A-Z]{16}",),
    "a private key": (r"-----BEGIN [A-Z ]*PRIVATE KEY-----",),
    "a password in an address": (r"://[^/\s:@\"']+:[^/\s:@\"']+@",),
}
_NAMES = re.compile(r"TOKEN(?!I)|SECRET|PASSWORD|API_?KEY|ACCESS_?KEY", re.IGNORECASE)
_SHORTEST = 12  # characters; a shorter value would match many texts


def kind_of_secret(text: str, *, own: Iterable[str] = ()) -> str | None:
    """Return the kind of secret in a text, or None. `own` are known secrets."""
    for kind, shapes in _SHAPES.items():
        if any(re.search(shape, text) for shape in shapes):
            return kind
    if any(secret in text for secret in own):
        return "a secret of this machine's environment"
    return None


def of_this_machine() -> list[str]:
    """Return the values of environment variables named like secrets, and the hub token."""
    from huggingface_hub import get_token

    values = [value for name, value in os.environ.items() if _NAMES.search(name)]
    return [value for value in [*values, get_token() or ""] if len(value) >= _SHORTEST]


def refuse_in_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments unchanged.

    Raises:
        ConfigError: if one is a token, which other users could read in the process list.
    """
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if _NAMES.search(key) or kind_of_secret(argument):
            raise ConfigError(
                "A token must not be an argument, because other users and the shell's history "
                "could read it. Run `hf auth login` once, or set HF_TOKEN in the environment."
            )
    return list(arguments)
