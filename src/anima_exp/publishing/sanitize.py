"""Check that files to publish hold no secrets and no paths of this machine."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anima_exp.errors import ConfigError, first_line
from anima_exp.model_card.metadata import check, read, with_base
from anima_exp.model_card.snippets import THE_BASE, THIS
from anima_exp.publishing import secrets
from anima_exp.publishing.files import ADAPTER, CARD, EMPTY_FORM, File, json_of

_BASE = "base_model_name_or_path"
# Vocabularies, which may hold any text.
_NOT_OURS = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json")
_LOCAL = re.compile(
    r"(?<![\w/.:])(?:/(?:home|Users|root|tmp|mnt|scratch)/[^\s\"'|)]+|~/[^\s\"'|)]+|[A-Za-z]:\\+Users\\)"
)


def sanitize(files: Sequence[File], *, push: str, base: str | None) -> list[File]:
    """Return the files as they are uploaded. The files on disk do not change.

    Args:
        base: the hub id to name as the base, in place of a local one.

    Raises:
        ConfigError: if a file holds a secret or a local path, or the base has no hub id.
    """
    if base:
        check_hub_id(base, key="base")
    sent = [_named(file, push=push, base=base) for file in files]
    own = secrets.of_this_machine()
    here = {str(files[0].path.resolve().parent), str(Path.cwd()), str(Path.home())} - {"/"}
    for file in sent:
        if kind := secrets.kind_of_secret(file.text, own=own):
            raise ConfigError(f"{file.path} holds {kind}. Nothing was uploaded. Remove it.")
        if file.name not in _NOT_OURS and (path := _local_path(file.text, here)):
            raise ConfigError(f"{file.path} names a path of this machine, {path}. Remove it.")
        if file.name == CARD and EMPTY_FORM in file.text:
            raise ConfigError(
                f"{file.path} is PEFT's empty template. Write a model card, or remove the file."
            )
    return sent


def check_hub_id(name: str, *, key: str) -> None:
    """Raise ConfigError unless `name` is a valid hub id."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        reason = first_line(error).rstrip(".")
        raise ConfigError(f"{key}={name} is not a valid hub id: {reason}.") from error
    if name.count("/") != 1:
        raise ConfigError(f"{key}={name} is not a valid hub id. Write {key}=user/name.")


def _named(file: File, *, push: str, base: str | None) -> File:
    if file.name == ADAPTER:
        return _on_base(file, base)
    if file.name != CARD:
        return file
    text = file.text.replace(THIS, push)
    if base:
        text = with_base(text, base).replace(THE_BASE, base)
    return replace(file, content=text.encode())


def _on_base(file: File, base: str | None) -> File:
    settings = json_of(file)
    named = str(settings.get(_BASE) or "")
    if base and base != named:
        settings |= {_BASE: base, "revision": None}  # the revision belonged to the former base
        return replace(file, content=(json.dumps(settings, indent=2) + "\n").encode())
    if not _on_the_hub(named):
        raise ConfigError(
            f"{file.path} names {named or 'nothing'} as its base, which is not a hub id, so others "
            "could not load the adapter. Give base=HUB_ID; it is written into the uploaded copy."
        )
    return file


def _on_the_hub(name: str) -> bool:
    try:
        check_hub_id(name, key="base")
    except ConfigError:
        return False
    return not Path(name).exists()  # a folder that looks like a name: models/llama


def _local_path(text: str, here: set[str]) -> str | None:
    # Match full names only: the home of a container may be /app, and a card may name hf.co/apple.
    whole = (rf"(?<![\w.]){re.escape(place)}(?![\w.-])" for place in sorted(here))
    named = next((one[0] for place in whole if (one := re.search(place, text))), None)
    found = _LOCAL.search(text)
    return named or (found[0] if found else None)


def head(files: Sequence[File]) -> dict[str, object] | None:
    """Return the front matter of the model card; None without a card.

    Raises:
        ConfigError: if it is not valid YAML, or the hub could not read it.
    """
    import yaml  # type: ignore[import-untyped]

    card = next((file for file in files if file.name == CARD), None)
    if card is None:
        return None
    try:
        check(card.text)
        return read(card.text)
    except yaml.YAMLError as error:
        reason = first_line(error)
        raise ConfigError(
            f"{CARD}: the part between the dashes is not valid YAML: {reason}."
        ) from error
    except ValueError as error:
        reason = first_line(error).rstrip(".")
        raise ConfigError(
            f"{CARD}: the hub could not read the part between the dashes: {reason}."
        ) from error
