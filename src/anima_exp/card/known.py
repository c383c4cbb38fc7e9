"""A base or data set -> what is known of its licence and language; of most, nothing is."""

from dataclasses import dataclass
from fnmatch import fnmatch


@dataclass(frozen=True)
class Known:
    licence: str
    language: str | None = None  # of what a data set teaches, as the hub writes it


_LLAMA = "research only: LLaMA's licence, which derived weights inherit"
_APACHE = "Apache-2.0"
_OURS = "Apache-2.0, a part of anima-exp"

_BASES = {
    "tiny": Known(_OURS),
    "huggyllama/llama-*": Known(_LLAMA),
    "timdettmers/guanaco-*-merged": Known(_LLAMA),
    "lyogavin/Anima33B-merged": Known(_LLAMA),
    "meta-llama/Llama-2-*": Known("Llama 2 Community License"),
    "meta-llama/Llama-3.1-*": Known("Llama 3.1 Community License, which also rules the name"),
    "meta-llama/Llama-3.2-*": Known("Llama 3.2 Community License, which also rules the name"),
    "Qwen/Qwen3-*": Known(_APACHE),
    "mistralai/Mistral-7B-v0.3": Known(_APACHE),
    "HuggingFaceTB/SmolLM2-*": Known(_APACHE),
}
_DATA = {
    "sample": Known(_OURS, "zh"),
    "tatsu-lab/alpaca": Known("CC BY-NC 4.0: not for commercial use", "en"),
    "yahma/alpaca-cleaned": Known("CC BY-NC 4.0: not for commercial use", "en"),
    "Chinese-Vicuna/guanaco_belle_merge_v1.0": Known("research only, as BELLE", "zh"),
    "laion/OIG": Known(_APACHE, "en"),
    "Anthropic/hh-rlhf": Known("MIT", "en"),
    "timdettmers/openassistant-guanaco": Known(_APACHE),
    "yizhongw/self_instruct": Known(_APACHE, "en"),
}


def of_base(source: str) -> Known | None:
    return _find(source, _BASES)


def of_data(source: str | None) -> Known | None:
    return _find(source, _DATA) if source else None


def _find(source: str, among: dict[str, Known]) -> Known | None:
    return next((known for ids, known in among.items() if fnmatch(source, ids)), None)
