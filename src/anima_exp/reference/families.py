"""Write the page of model families from what `make families` has measured."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anima_exp.reference import markdown

MEASURED = Path(__file__).with_name("families.json")

# The results of a trial, and how the page calls them.
PACKED, ROW_BY_ROW, REFUSED, NOT_BUILT = "packed", "row by row", "refused", "not built"
_TITLES = {
    PACKED: "Works fast",
    ROW_BY_ROW: "Works row by row",
    REFUSED: "Refused",
    NOT_BUILT: "Not tried",
}
_WHAT = {
    PACKED: "Rows of a micro-batch are packed into one sequence.",
    ROW_BY_ROW: "A micro-batch is one row. Numbers are the same, and small rows are slower.",
    REFUSED: "The run ends before its first step, with the reason in one line.",
    NOT_BUILT: "A small model of the family could not be built, so nothing is known.",
}

# A public base of each well-known family.
EXAMPLES = {
    "apertus": "swiss-ai/Apertus-8B-2509",
    "bamba": "ibm-ai-platform/Bamba-9B-v1",
    "bert": "google-bert/bert-base-uncased",
    "biogpt": "microsoft/biogpt",
    "bloom": "bigscience/bloom-7b1",
    "codegen": "Salesforce/codegen-2B-mono",
    "cohere": "CohereLabs/c4ai-command-r-v01",
    "cohere2": "CohereLabs/c4ai-command-r7b-12-2024",
    "dbrx": "databricks/dbrx-base",
    "deepseek_v2": "deepseek-ai/DeepSeek-V2-Lite",
    "deepseek_v3": "deepseek-ai/DeepSeek-V3",
    "deepseek_v32": "deepseek-ai/DeepSeek-V3.2-Exp",
    "ernie4_5": "baidu/ERNIE-4.5-0.3B-PT",
    "ernie4_5_moe": "baidu/ERNIE-4.5-21B-A3B-PT",
    "exaone4": "LGAI-EXAONE/EXAONE-4.0-32B",
    "falcon": "tiiuae/falcon-7b",
    "falcon_h1": "tiiuae/Falcon-H1-7B-Base",
    "falcon_mamba": "tiiuae/falcon-mamba-7b",
    "gemma": "google/gemma-7b",
    "gemma2": "google/gemma-2-9b",
    "gemma3": "google/gemma-3-4b-pt",
    "gemma3_text": "google/gemma-3-1b-pt",
    "gemma3n": "google/gemma-3n-E2B",
    "glm": "THUDM/glm-4-9b-hf",
    "glm4": "THUDM/GLM-4-9B-0414",
    "glm4_moe": "zai-org/GLM-4.5-Air",
    "gpt2": "openai-community/gpt2",
    "gpt_bigcode": "bigcode/starcoder",
    "gpt_neo": "EleutherAI/gpt-neo-2.7B",
    "gpt_neox": "EleutherAI/pythia-6.9b",
    "gpt_oss": "openai/gpt-oss-20b",
    "gptj": "EleutherAI/gpt-j-6b",
    "granite": "ibm-granite/granite-3.1-8b-base",
    "granitemoe": "ibm-granite/granite-3.1-3b-a800m-base",
    "granitemoehybrid": "ibm-granite/granite-4.0-h-small",
    "jamba": "ai21labs/Jamba-v0.1",
    "kimi_linear": "moonshotai/Kimi-Linear-48B-A3B-Base",
    "lfm2": "LiquidAI/LFM2-1.2B",
    "lfm2_moe": "LiquidAI/LFM2-8B-A1B",
    "llama": "meta-llama/Llama-3.1-8B",
    "llama4": "meta-llama/Llama-4-Scout-17B-16E",
    "mamba": "state-spaces/mamba-2.8b-hf",
    "minimax_m2": "MiniMaxAI/MiniMax-M2",
    "mistral": "mistralai/Mistral-7B-v0.1",
    "mixtral": "mistralai/Mixtral-8x7B-v0.1",
    "mpt": "mosaicml/mpt-7b",
    "nemotron_h": "nvidia/Nemotron-H-8B-Base-8K",
    "olmo": "allenai/OLMo-7B-hf",
    "olmo2": "allenai/OLMo-2-1124-7B",
    "olmoe": "allenai/OLMoE-1B-7B-0924",
    "openai-gpt": "openai-community/openai-gpt",
    "opt": "facebook/opt-6.7b",
    "persimmon": "adept/persimmon-8b-base",
    "phi": "microsoft/phi-2",
    "phi3": "microsoft/Phi-3-mini-4k-instruct",
    "phi4_multimodal": "microsoft/Phi-4-multimodal-instruct",
    "phimoe": "microsoft/Phi-3.5-MoE-instruct",
    "qwen2": "Qwen/Qwen2.5-7B",
    "qwen2_moe": "Qwen/Qwen1.5-MoE-A2.7B",
    "qwen3": "Qwen/Qwen3-8B",
    "qwen3_moe": "Qwen/Qwen3-30B-A3B",
    "qwen3_next": "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "recurrent_gemma": "google/recurrentgemma-2b",
    "roberta": "FacebookAI/roberta-base",
    "rwkv": "RWKV/rwkv-4-169m-pile",
    "seed_oss": "ByteDance-Seed/Seed-OSS-36B-Base",
    "smollm3": "HuggingFaceTB/SmolLM3-3B",
    "stablelm": "stabilityai/stablelm-3b-4e1t",
    "starcoder2": "bigcode/starcoder2-7b",
    "xglm": "facebook/xglm-7.5B",
    "xlstm": "NX-AI/xLSTM-7b",
    "zamba": "Zyphra/Zamba-7B-v1",
    "zamba2": "Zyphra/Zamba2-7B",
}


def measured() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what was measured: release of transformers -> family -> result."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def families_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Model families", _lines())


def _lines() -> Iterator[str]:
    known = measured()
    releases = sorted(known, key=lambda release: [*map(int, release.split("."))])
    newest = known[releases[-1]]
    families = sorted({family for rows in known.values() for family in rows})
    rows = {family: _newest(family, known, releases) for family in families}
    counts = {
        title: sum(row["result"] == result for _, row in rows.values())
        for result, title in _TITLES.items()
    }
    yield (
        f"transformers {releases[-1]} has {len(newest)} families of causal language models. "
        "Each was built small with random weights, loaded with `quant=nf4`, adapted, and trained "
        "for one step. Its packed gradients were compared with those of each row alone, by "
        "transformers and PEFT. Then it generated, answered questions and was merged. Each had to "
        "give what the plain computation gives. `make families` does it again."
    )
    yield ""
    yield (
        "A small model cannot show everything. So every model is tried on short rows when it is "
        "loaded, and the run says how it computes rows."
    )
    yield ""
    yield from markdown.table(
        ["result", "families", "what it means"],
        [
            [f"[{title}](#{title.lower().replace(' ', '-')})", str(counts[title]), _WHAT[result]]
            for result, title in _TITLES.items()
        ],
    )
    for result, title in _TITLES.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield from markdown.table(
            ["family", "example", "remarks", "tried with transformers"],
            [
                [
                    f"`{family}`",
                    f"`{EXAMPLES[family]}`" if family in EXAMPLES else "",
                    "; ".join(_remarks(row, result)),
                    _releases(family, result, known, releases),
                ]
                for family, (_, row) in rows.items()
                if row["result"] == result
            ],
        )


def _newest(
    family: str, known: dict[str, dict[str, Any]], releases: list[str]
) -> tuple[str, dict[str, Any]]:
    release = next(one for one in reversed(releases) if family in known[one])
    return release, known[release][family]


def _remarks(row: dict[str, Any], result: str) -> Iterator[str]:
    if row.get("reason"):
        yield row["reason"].replace("|", "\\|")
    if result in (PACKED, ROW_BY_ROW):
        if row["quant"] != "nf4":
            yield f"`quant={row['quant']}`"
        if row["adapter"] != "lora=all_linear":
            yield f"`{row['adapter']}`"
        yield from row.get("remarks", ())


def _releases(
    family: str, result: str, known: dict[str, dict[str, Any]], releases: list[str]
) -> str:
    """Return the releases that a family was tried with, and a result that differs from `result`."""
    found = []
    for release in releases:
        row = known[release].get(family)
        if row is None:
            continue
        other = "" if row["result"] == result else f" ({row['result']})"
        found.append(f"{release.rpartition('.')[0]}{other}")
    return ", ".join(found)
