"""Write code for plain transformers and PEFT that loads a trained model and prompts it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.config import Thinking
from anima_exp.data import formats
from anima_exp.data.chat.policy import SWITCH, variables
from anima_exp.display import tables
from anima_exp.display.tables import Column
from anima_exp.model_card import origin
from anima_exp.results.record import Record
from anima_exp.system.terminal import printable

THE_BASE = "FOLDER_OR_HUB_ID_OF_THE_BASE"  # if the base is local or unknown
THIS = "FOLDER_OR_HUB_ID_OF_THIS"
_REMOTE_CODE = "model.trust_remote_code"
_DTYPES = {"bf16": "torch.bfloat16", "fp16": "torch.float16", "fp32": "torch.float32"}


@dataclass(frozen=True)
class Question:
    """The question of an example, and how a chat template is given it."""

    text: str
    options: Mapping[str, Any]


def loading_code(record: Record, prompt: str | Question) -> str:
    """Return the code that asks what a run has trained: a prompt, or through its chat template."""
    if record.is_full_finetune:
        precision, remote = (record.settings[key] for key in ("trainer.precision", _REMOTE_CODE))
        return of_model(prompt, dtype=precision, remote_code=remote)
    quantized = record.settings["quant.type"] != "none" or bool(record.base_format)
    base = origin.base_origin(record.settings, record.base_fingerprint)
    more = ({"revision": _quoted(base.commit)} if base.commit else {}) | {"dtype": _dtype(record)}
    if quantized:
        more["quantization_config"] = "stored"
    more |= _remote_code(record.settings[_REMOTE_CODE])
    names = ["AutoModelForCausalLM", "AutoTokenizer", *([_config_class(record)] * quantized)]
    lines = [
        "import torch",
        "from peft import PeftModel",
        f"from transformers import {', '.join(names)}",
        "",
        f"base, adapter = {_quoted(base.hub_id or THE_BASE)}, {_quoted(THIS)}",
        *(_storage(record) if quantized else []),
        "model = AutoModelForCausalLM.from_pretrained(",
        f"    base, {_arguments(more)}",
        ")",
        "model = PeftModel.from_pretrained(model, adapter).eval()",
        *_prompting_code("adapter", prompt),
    ]
    return "\n".join(lines)


def of_model(prompt: str | Question, *, dtype: str, remote_code: bool = False) -> str:
    """Return the code for a model without an adapter."""
    more = {"dtype": _DTYPES[dtype]} | _remote_code(remote_code)
    lines = [
        "import torch",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"model_id = {_quoted(THIS)}",
        f"model = AutoModelForCausalLM.from_pretrained(model_id, {_arguments(more)}).eval()",
        *_prompting_code("model_id", prompt),
    ]
    return "\n".join(lines)


def _prompting_code(tokenizer: str, prompt: str | Question) -> list[str]:
    first = f"tokenizer = AutoTokenizer.from_pretrained({tokenizer})"
    last = "print(tokenizer.decode(answer, skip_special_tokens=True))"
    if isinstance(prompt, Question):
        options = {
            "add_generation_prompt": True,
            **prompt.options,
            "return_dict": True,
            "return_tensors": '"pt"',
        }
        return [
            first,
            f'messages = [{{"role": "user", "content": {_quoted(prompt.text)}}}]',
            "ids = tokenizer.apply_chat_template(",
            f"    messages, {_arguments(options)}",
            ").to(model.device)",
            "answer = model.generate(",
            "    **ids, max_new_tokens=100, eos_token_id=tokenizer.eos_token_id",
            ")[0, ids.input_ids.shape[1] :]",
            last,
        ]
    return [
        first,
        f"prompt = {_quoted(prompt)}",
        'ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(model.device)',
        "answer = model.generate(**ids, max_new_tokens=100)[0, ids.input_ids.shape[1] :]",
        last,
    ]


_DEQUANTIZING = {
    "FP8": "FineGrainedFP8Config",
    "MXFP4": "Mxfp4Config",
    "compressed-tensors": "CompressedTensorsConfig",
}


def _config_class(record: Record) -> str:
    return _DEQUANTIZING.get(record.base_format, "BitsAndBytesConfig")


def _storage(record: Record) -> list[str]:
    settings = record.settings
    if record.base_format:  # transformers quantizes no model again as it loads
        return [f"stored = {_config_class(record)}(dequantize=True)"]
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
    """Return a string literal, which is valid in Python for any text."""
    return json.dumps(text, ensure_ascii=False)


# An example prompt, in exactly the form of the run's training rows.


_NO_QUESTION = "What is the capital of France?"


def template(settings: dict[str, Any]) -> str:
    """Return the template of the recipe, or `data.prompt_template` of a mixture.

    It is also that for a recipe of the user.
    """
    recipe = settings["data.recipe"]
    if not origin.is_mixture(settings) and formats.states_its_prompt(recipe):
        return formats.prompt_template_of(recipe)
    return str(settings["data.prompt_template"])


def is_chat(settings: dict[str, Any]) -> bool:
    """Return whether the run is prompted in the chat template that is saved with it."""
    return formats.for_answers(template(settings), key="data.prompt_template").tokenizers_own


def question(settings: dict[str, Any]) -> str:
    """Return a sample question of the run."""
    questions = settings.get("evals.samples.prompts") or settings["data.sample_prompts"]
    return str(questions[0] if questions else _NO_QUESTION)


def chat_question(settings: dict[str, Any], chat_template: str) -> Question:
    """Return a sample question, with the mode of thinking in which the run was trained."""
    thinking = Thinking(settings.get("data.thinking") or Thinking.template)
    switches = SWITCH in chat_template
    return Question(question(settings), variables(thinking, thinks=True) if switches else {})


def example(settings: dict[str, Any], *, begin: str) -> str:
    """Return a sample question of the run as a prompt. `begin` is the text of BOS, or empty."""
    if is_chat(settings):  # and no template is saved with it
        return question(settings)
    ask = formats.template(template(settings))
    return begin + str(ask(question(settings)))


def written_by_others(settings: dict[str, Any]) -> bool:
    """Return whether the prompts of the rows come from a recipe of the user."""
    return not origin.is_mixture(settings) and not formats.states_its_prompt(
        settings["data.recipe"]
    )


# Escape texts for Markdown.


def section(title: str, facts: Sequence[tuple[str, str]]) -> str:
    names, texts = zip(*facts, strict=True)
    pair = [
        Column("", list(names), right=False),
        Column("", [printable(text) for text in texts], right=False),
    ]
    return f"## {title}\n\n{tables.markdown_table(pair)}"


def fenced(text: str, language: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{printable(text)}\n{fence}\n"


def inline_code(text: str) -> str:
    """Return a text as inline code on one line, with enough backticks around its own."""
    line = printable(" ".join(text.split()))
    fence = "`" * (_longest_run(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def plain(text: str) -> str:
    return tables.escape_markdown(printable(text))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
