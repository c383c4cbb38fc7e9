"""A trained model -> a folder that plain PEFT (or plain transformers) loads."""

import shutil
from pathlib import Path
from typing import Any

from anima_exp.results.files import publish_folder, writing

CARD = "README.md"


def save(model: Any, tokenizer: Any, folder: Path, *, card: str) -> None:
    """Write the adapter, or with lora=none the whole model, its tokenizer and its model card.

    All of it is there or nothing. The card stands in place of the empty form that PEFT writes.

    Safetensors only; `AutoTokenizer.from_pretrained(folder)` is the tokenizer trained with.

    Raises:
        RunError: the disk is full.
    """
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    model.config.use_cache = True  # off for training only
    try:
        with writing(folder):
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
            (draft / CARD).write_text(card, encoding="utf-8")
            publish_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # half of it would take the missing room
    model.config.use_cache = False
