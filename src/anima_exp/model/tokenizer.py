"""Load the tokenizer to train with, and set its special tokens."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.libraries import hub
from anima_exp.libraries.transformers_loading import asks_to_trust_code
from anima_exp.model.base_files import check_has_tokenizer, check_tokenizer_files
from anima_exp.system import json_files
from anima_exp.system.paths import expanded, tiny_base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens that some vocabularies reserve for padding but do not declare in their configuration.
_RESERVED_FOR_PADDING = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<unk>")


def resolve_source(source: str) -> str:
    """Return a hub id or folder as transformers takes it; `tiny` is the embedded base model."""
    if source == "tiny":
        return str(tiny_base())
    return str(expanded(source, "model.source")) if source.startswith("~") else source


def load_tokenizer(model: ModelConfig, *, to_copy: bool = False) -> "PreTrainedTokenizerBase":
    """Load the model's fast tokenizer, right-padded, with EOS and a padding token.

    No token is added. qlora.py adds [PAD] and grows the embeddings, which then differ from the
    published base model and are not saved with the adapter. An existing token serves as well,
    because nothing here recognizes padding by its id.

    Args:
        to_copy: the tokenizer is only written next to a model, so it need not fit the embeddings
            of the base model.

    Raises:
        ModelError: if there is no such tokenizer, it has no end-of-sequence token, or it does not
            fit the base model.
    """
    from transformers import AutoTokenizer

    key, revision = "model.source", model.revision
    if model.tokenizer:  # of another repository, which has revisions of its own
        key, revision = "model.tokenizer", None
    source = resolve_source(model.tokenizer or model.source)
    check_tokenizer_files(model)
    check_has_tokenizer(model)
    if not Path(source).is_dir() and hub.is_id(source):  # by itself transformers tries for a minute
        hub.file(source, "config.json", where=f"{key}={source}", revision=revision)
    _check_settings(key, source)
    try:
        with hub.no_retries(source):
            tokenizer = AutoTokenizer.from_pretrained(
                source, revision=revision, trust_remote_code=model.trust_remote_code
            )
    except Exception as error:  # the tokenizers library raises plain ones
        raise ModelError(load_error_message(key, source, error, what="tokenizer")) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {source} has no fast version (tokenizer.json). "
            "Choose another one with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    _special_tokens(tokenizer, source, None if to_copy else embeddings_of(model))
    tokenizer.padding_side = "right"
    return tokenizer


def _check_settings(key: str, source: str) -> None:
    """Raise ModelError for unreadable JSON, for which transformers has no clear message."""
    for name in ("config.json", "tokenizer_config.json"):
        file = Path(source) / name
        try:
            if file.is_file():
                json_files.read_table(file)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{key}={source}: {name} cannot be read: {reason}") from error


def load_error_message(key: str, source: str, error: Exception, *, what: str) -> str:
    """Return one line for a model or tokenizer that transformers could not load."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = " ".join(lines[:3]) if lines[0].endswith(":") else lines[0]
    if asks_to_trust_code(error):  # the library names its argument, not our setting
        return (
            f"{key}={source}: the {what} needs Python code that its author put next to it, and "
            "loading would run that code. Read it first. If you trust it, add "
            "model.trust_remote_code=true."
        )
    folder = Path(source)
    if folder.is_dir():
        return f"{key}={source}: the {what} in this folder cannot be loaded: {reason}"
    if folder.is_absolute() or source.startswith(".") or source.count("/") > 1:
        return f"{key}={source}: there is no such folder."
    if not isinstance(error, OSError):  # its files exist
        return f"{key}={source}: the {what} cannot be loaded: {reason}"
    return (
        f"{key}={source}: no such folder, and the hub gave no {what}: {reason} "
        "Check the id. For a gated model, accept its licence on the hub and run `hf auth login`. "
        "Without a network, use model=local model.source=FOLDER."
    )


def embeddings_of(model: ModelConfig) -> int | None:
    """Return how many token ids the base has embeddings for; None if its config cannot be read.

    Loading the model reports the error later.
    """
    from transformers import AutoConfig

    source = resolve_source(model.source)
    try:
        file: Path | None = Path(source) / "config.json"
        if not Path(source).is_dir():
            file = hub.file(
                source, "config.json", where=f"model.source={source}", revision=model.revision
            )
        config = AutoConfig.from_pretrained(str(file.parent), trust_remote_code=False)  # type: ignore[union-attr]
        return int(config.get_text_config().vocab_size)
    except Exception:
        return None


def with_end(ends: int | list[int] | None, end: int) -> int | list[int]:
    """Return the ids at which generation stops, `end` among them.

    Args:
        ends: the eos_token_id of a generation config.
    """
    if ends is None:
        return end
    several = ends if isinstance(ends, list) else [ends]
    return ends if end in several else [end, *several]


def largest_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the largest token id of a tokenizer; -1 if it has none."""
    return max(tokenizer.get_vocab().values(), default=-1)


def check_ids(rows: Iterable[Any], embeddings: int) -> None:
    """Raise ModelError if a row holds an id that the base has no embedding for."""
    import numpy as np

    for row in rows:
        highest = int(np.max(row)) if len(row) else 0
        if highest >= embeddings:
            raise ModelError(
                f"A text holds the token id {highest}, but the base model has embeddings for "
                f"{embeddings:,} ids only: its tokenizer has tokens that the base model lacks. "
                "Remove them from the text, or choose another tokenizer with model.tokenizer=..."
            )


def _check_vocabulary(tokenizer: "PreTrainedTokenizerBase", source: str, embeddings: int) -> None:
    """Raise ModelError if plain text, or BOS or EOS, can contain ids without an embedding.

    Other added tokens may be beyond the embeddings. Gemma 3 1B has one for images, which text does
    not contain. check_ids looks for those.
    """
    known = tokenizer.get_vocab()
    if max(known.values(), default=-1) < embeddings:
        return
    added = tokenizer.get_added_vocab()
    plain = max((number for token, number in known.items() if token not in added), default=-1)
    beyond = {
        f"plain tokens up to the id {plain}": plain,
        f"the end-of-sequence token {tokenizer.eos_token}": tokenizer.eos_token_id,
        f"the beginning-of-sequence token {tokenizer.bos_token}": tokenizer.bos_token_id,
    }
    for what, number in beyond.items():
        if number is not None and number >= embeddings:
            raise ModelError(
                f"The tokenizer of {source} does not fit the base model: it has {what}, but the "
                f"base model has embeddings for {embeddings:,} ids only. Set model.tokenizer to "
                "the base model's own tokenizer, or use a base model whose embeddings were resized "
                "for this one."
            )


def _special_tokens(
    tokenizer: "PreTrainedTokenizerBase", source: str, embeddings: int | None
) -> None:
    # Only added tokens are special: Qwen's vocabulary has "<s>" as a piece of ordinary text.
    special = tokenizer.get_added_vocab()
    # Old LLaMA conversions leave bos_token and eos_token empty, though the tokens are there.
    for name, usual in (("bos_token", "<s>"), ("eos_token", "</s>")):
        if not getattr(tokenizer, name) and usual in special:
            setattr(tokenizer, name, usual)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {source} has no end-of-sequence token, so no answer could ever end. "
            "Choose another one with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    if embeddings is not None:
        _check_vocabulary(tokenizer, source, embeddings)
        special = {token: number for token, number in special.items() if number < embeddings}
        if tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= embeddings:
            tokenizer.pad_token = None  # a trainer added it and kept the base's embeddings
    if tokenizer.pad_token_id is None:
        found = next((token for token in _RESERVED_FOR_PADDING if token in special), None)
        tokenizer.pad_token = found or tokenizer.eos_token
