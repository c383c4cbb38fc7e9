"""ModelConfig -> the tokenizer to train with, its special tokens right."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.model import hub
from anima_exp.paths import expanded, tiny_base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens that some vocabularies reserve for padding without saying so in their configuration.
_RESERVED_FOR_PADDING = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<unk>")


def location(source: str) -> str:
    """A hub id or folder as transformers takes it: `tiny` is the embedded base."""
    if source == "tiny":
        return str(tiny_base())
    return str(expanded(source, "model.source")) if source.startswith("~") else source


def load_tokenizer(model: ModelConfig) -> "PreTrainedTokenizerBase":
    """The model's own fast tokenizer, right-padded, with EOS and a padding token.

    No token is ever added: qlora.py adds [PAD] and grows the embeddings, which then differ from
    the published base and are not saved with the adapter. A token that exists serves as well,
    because nothing here tells padding from text by its id.

    Raises:
        ModelError: there is no such tokenizer, or it has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    key, revision = "model.source", model.revision
    if model.tokenizer:  # of another repository, which has revisions of its own
        key, revision = "model.tokenizer", None
    source = location(model.tokenizer or model.source)
    if not Path(source).is_dir() and hub.is_id(source):  # by itself transformers tries for a minute
        hub.file(source, "config.json", where=f"{key}={source}", revision=revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=model.trust_remote_code
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(cannot_load(key, source, error, what="tokenizer")) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {source} has no fast version (tokenizer.json). "
            "Give another one with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    _special_tokens(tokenizer, source)
    tokenizer.padding_side = "right"
    return tokenizer


def cannot_load(key: str, source: str, error: Exception, *, what: str) -> str:
    """One line for a model or tokenizer that transformers could not load."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = " ".join(lines[:3]) if lines[0].endswith(":") else lines[0]
    folder = Path(source)
    if folder.is_dir():
        return f"{key}={source}: the folder gives no {what}: {reason}"
    if folder.is_absolute() or source.startswith(".") or source.count("/") > 1:
        return f"{key}={source}: there is no such folder."
    if not isinstance(error, OSError):  # found, but not to be loaded so
        return f"{key}={source}: the {what} cannot be loaded: {reason}"
    return (
        f"{key}={source}: no such folder, and the hub gave no {what}: {reason} "
        "Check the id; for a gated model accept its licence on the hub and run `hf auth login`; "
        "without a network use model=local model.source=FOLDER."
    )


def _special_tokens(tokenizer: Any, source: str) -> None:
    # Only tokens that were added as such: Qwen's vocabulary has "<s>" as a piece of ordinary text.
    special = tokenizer.get_added_vocab()
    # Old LLaMA conversions leave bos_token and eos_token empty, though the tokens are there.
    for name, usual in (("bos_token", "<s>"), ("eos_token", "</s>")):
        if not getattr(tokenizer, name) and usual in special:
            setattr(tokenizer, name, usual)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {source} has no end-of-sequence token, so no answer could ever end. "
            "Give another one with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    if tokenizer.pad_token_id is None:
        found = next((token for token in _RESERVED_FOR_PADDING if token in special), None)
        tokenizer.pad_token = found or tokenizer.eos_token
