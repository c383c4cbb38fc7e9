"""What these tests share: a tokenizer whose ids are bytes, so that a test can type them."""

import json
from pathlib import Path
from types import SimpleNamespace

from tokenizers import Tokenizer, models, pre_tokenizers

from anima_exp.config import DataConfig

BOS, EOS = 256, 257


def byte_tokenizer(bos: int | None = BOS) -> SimpleNamespace:
    """Ids are byte values; 256 and 257 are <s> and </s>. The attributes are transformers'."""
    # ByteLevel writes a byte as a visible letter: itself, or the next free one from 256 on.
    free = iter(range(256, 512))
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(b if b in visible else next(free)): b for b in range(256)}
    backend = Tokenizer(models.BPE(vocab=letters | {"<s>": 256, "</s>": 257}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens(["<s>", "</s>"])

    def decode(ids: list[int], **_: bool) -> str:
        special = {BOS: "<s>", EOS: "</s>"}
        return b"".join(special[i].encode() if i in special else bytes([i]) for i in ids).decode()

    return SimpleNamespace(
        backend_tokenizer=backend,
        bos_token_id=bos,
        eos_token_id=EOS,
        all_special_ids=[BOS, EOS],
        decode=decode,
    )


def local(path: Path, **settings) -> DataConfig:
    """data=local data.path=... and small limits."""
    defaults = {
        "recipe": "prompt_response",
        "prompt_template": "plain",
        "max_prompt_tokens": 8,
        "max_response_tokens": 8,
        "heldout_rows": 0,
    }
    return DataConfig(name="local", path=str(path), **(defaults | settings))


def write_rows(path: Path, *rows: object) -> Path:
    """One JSON line for each row; a text is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"q{i}", "response": f"a{i}"} for i in range(count)]
