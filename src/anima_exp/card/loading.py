"""A run's record -> the lines of plain transformers and PEFT that load and ask what it trained."""

import json
from typing import Any

from anima_exp.card import origin
from anima_exp.card.front_matter import trains_every_weight
from anima_exp.results.record import Record

THE_BASE = "FOLDER_OR_HUB_ID_OF_THE_BASE"  # where the card must not say, or cannot know
THIS = "FOLDER_OR_HUB_ID_OF_THIS"
_REMOTE_CODE = "model.trust_remote_code"
_DTYPES = {"bf16": "torch.bfloat16", "fp16": "torch.float16", "fp32": "torch.float32"}


def code(record: Record, prompt: str) -> str:
    if trains_every_weight(record):
        precision, remote = (record.settings[key] for key in ("trainer.precision", _REMOTE_CODE))
        return of_model(prompt, dtype=precision, remote_code=remote)
    quantised = record.settings["quant.type"] != "none"
    base = origin.base(record.settings, record.base_fingerprint)
    more = ({"revision": _quoted(base.commit)} if base.commit else {}) | {"dtype": _dtype(record)}
    if quantised:
        more["quantization_config"] = "stored"
    more |= _remote_code(record.settings[_REMOTE_CODE])
    names = ["AutoModelForCausalLM", "AutoTokenizer", *(["BitsAndBytesConfig"] * quantised)]
    lines = [
        "import torch",
        "from peft import PeftModel",
        f"from transformers import {', '.join(names)}",
        "",
        f"base, adapter = {_quoted(base.hub_id or THE_BASE)}, {_quoted(THIS)}",
        *(_storage(record) if quantised else []),
        "model = AutoModelForCausalLM.from_pretrained(",
        f"    base, {_arguments(more)}",
        ")",
        "model = PeftModel.from_pretrained(model, adapter).eval()",
        *_asked("adapter", prompt),
    ]
    return "\n".join(lines)


def of_model(prompt: str, *, dtype: str, remote_code: bool = False) -> str:
    """The same of a model that needs no adapter."""
    more = {"dtype": _DTYPES[dtype]} | _remote_code(remote_code)
    lines = [
        "import torch",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"model_id = {_quoted(THIS)}",
        f"model = AutoModelForCausalLM.from_pretrained(model_id, {_arguments(more)}).eval()",
        *_asked("model_id", prompt),
    ]
    return "\n".join(lines)


def _asked(tokenizer: str, prompt: str) -> list[str]:
    return [
        f"tokenizer = AutoTokenizer.from_pretrained({tokenizer})",
        f"prompt = {_quoted(prompt)}",
        'ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(model.device)',
        "answer = model.generate(**ids, max_new_tokens=100)[0, ids.input_ids.shape[1] :]",
        "print(tokenizer.decode(answer, skip_special_tokens=True))",
    ]


def _storage(record: Record) -> list[str]:
    settings = record.settings
    if settings["quant.type"] == "int8":
        return ["stored = BitsAndBytesConfig(load_in_8bit=True)"]
    return [
        "stored = BitsAndBytesConfig(",
        "    load_in_4bit=True,",
        f"    bnb_4bit_quant_type={_quoted(settings['quant.type'])},",
        f"    bnb_4bit_use_double_quant={bool(settings['quant.double_quant'])},",
        f"    bnb_4bit_compute_dtype={_DTYPES[settings['quant.compute_dtype']]},",
        ")",
    ]


def _dtype(record: Record) -> str:
    return _DTYPES[record.settings["trainer.precision"]]


def _remote_code(trusted: bool) -> dict[str, str]:
    return {"trust_remote_code": "True"} if trusted else {}


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _quoted(text: str) -> str:
    """As Python writes it too: whatever a name holds, it stays one string."""
    return json.dumps(text, ensure_ascii=False)
