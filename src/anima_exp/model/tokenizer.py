"""ModelConfig -> the tokenizer to train with, its special tokens right."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.paths import tiny_base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens that some vocabularies reserve for padding without saying so in their configuration.
_RESERVED_FOR_PADDING = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<unk>")


def location(source: str) -> str:
    """A hub id or folder as transformers takes it: `tiny` is the embedded base."""
    if source == "tiny":
        return str(tiny_base())
    return str(Path(source).expanduser()) if source.startswith("~") else source


def load_tokenizer(model: ModelConfig) -> "PreTrainedTokenizerBase":
    """The model's own fast tokenizer, right-padded, with EOS and a padding token.

    No token is ever added: qlora.py adds [PAD] and grows the embeddings, which then differ from
    the published base and are not saved with the adapter. A token that exists serves as well,
    because nothing here tells padding from text by its id.

    Raises:
        ModelError: there is no such tokenizer, or it has no end-of-sequence token.
    """
    from transformers import AutoTokenizer

    source = location(model.tokenizer or model.source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(not_found(source, error, what="tokenizer")) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {source} has no fast version (tokenizer.json). "
            "Give another one with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    _special_tokens(tokenizer, source)
    tokenizer.padding_side = "right"
    return tokenizer


def not_found(source: str, error: Exception, *, what: str) -> str:
    """One line for a model or tokenizer that transformers could not load."""
    folder = Path(source)
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        found = ", ".join(names[:4]) or "nothing"
        return (
            f"model.source={source}: no {what} can be loaded from this folder, which has {found}."
        )
    if folder.is_absolute() or source.startswith(".") or source.count("/") > 1:
        return f"model.source={source}: there is no such folder."
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"model.source={source}: no such folder, and the hub gave no {what}: {reason} "
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
