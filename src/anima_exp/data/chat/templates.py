"""Choose the chat template of `data.template`, render conversations with it, and save it.

A chat template is a Jinja program that writes a conversation as the text a model reads. Models
publish one with their tokenizer. For the others, this package has templates of known formats.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.errors import ConfigError, DataError, first_line
from anima_exp.system.paths import expanded, tiny_base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEY = "data.template"
OWN = "tokenizer"  # the value of KEY that names the tokenizer's own template
Messages = Sequence[Mapping[str, Any]]  # as Conversation.as_dicts() returns them

_FOLDER = Path(__file__).parent / "jinja"
# The tokens that a format writes. A tokenizer without them would write them as ordinary text.
_TOKENS = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "mistral": (),
    "guanaco": (),
    "vicuna": (),
    "alpaca": (),
}
NAMES = tuple(_TOKENS)
_TINY = "tiny"  # the format of the embedded base, for its tokenizer only
# The formats that refuse two turns of one role in a row, and these roles.
ALTERNATING = {name: ("user", "assistant") for name in ("mistral", "gemma")}
_TOKEN_FILES = (
    "tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json",
)  # fmt: skip
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
_FALLBACK = "guanaco"  # the format of QLoRA's best models, which needs no token but EOS


@dataclass(frozen=True)
class ChatTemplate:
    """The Jinja source of a template, and the name under which it was chosen."""

    name: str
    source: str
    tools_source: str | None = None  # for conversations with tools, if the tokenizer has its own

    @property
    def fingerprint(self) -> str:
        """The hash of the sources, without the name: two names of one template share it."""
        sources = "\0".join([self.source, self.tools_source or ""])
        return hashlib.sha256(sources.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{KEY}={self.name}"


def choose(setting: str | None, tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate:
    """Return the template that `data.template` names.

    Args:
        setting: `tokenizer`, a name of NAMES, `tiny`, or the path of a .jinja file. By default the
            tokenizer's own template, or else the format whose tokens the tokenizer has.

    Raises:
        ConfigError: there is no such template, or the tokenizer lacks its tokens.
    """
    if setting is None:
        return _own(tokenizer) or named(_format_of(tokenizer))
    if setting == OWN:
        if found := _own(tokenizer):
            return found
        raise _no_own(str(tokenizer.name_or_path))
    if setting in NAMES:
        known = tokenizer.get_added_vocab()
        _check_tokens(setting, lambda token: token in known, str(tokenizer.name_or_path))
        return named(setting)
    if setting == _TINY:
        return named(setting)
    return _of_file(setting)


def check_setting(setting: str | None, tokenizer_file: Path | None, *, place: str) -> None:
    """Raise ConfigError if there is no such template, as far as files show it.

    No library is imported for it, so a dry run can afford it. `choose` checks the rest.

    Args:
        tokenizer_file: the tokenizer.json, if it is on this machine.
        place: the model that it is from, for the error message.
    """
    if setting is None or setting == _TINY:
        return
    if setting not in (OWN, *NAMES):
        _of_file(setting)
    elif tokenizer_file is None:
        return
    elif setting == OWN:
        files = [tokenizer_file.with_name(name) for name in _TEMPLATE_FILES]
        config = _text_of(tokenizer_file.with_name("tokenizer_config.json"))
        inside = re.search(r'"chat_template"\s*:\s*["\[{]', config)
        if not inside and not any(file.exists() for file in files):
            raise _no_own(place)
    else:
        texts = [_text_of(tokenizer_file.with_name(name)) for name in _TOKEN_FILES]
        _check_tokens(setting, lambda token: any(token in text for text in texts), place)


def _text_of(file: Path) -> str:
    """Return the text of a JSON file with its tokens as they are; "" if it is missing."""
    try:
        return _text_as_of(file, file.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError):
        return ""


@lru_cache(maxsize=8)  # the cells of a sweep read a file once
def _text_as_of(file: Path, _changed: int) -> str:
    text = file.read_text(encoding="utf-8")
    return text.replace("\\u003c", "<").replace("\\u003e", ">")


def named(name: str) -> ChatTemplate:
    """Return the template of a format in NAMES, or `tiny`."""
    return ChatTemplate(name, (_FOLDER / f"{name}.jinja").read_text(encoding="utf-8"))


def use_template(
    tokenizer: "PreTrainedTokenizerBase", template: ChatTemplate, stop_ids: Sequence[int]
) -> None:
    """Make `template` the tokenizer's own, and the token that ends its answers the EOS token.

    Other programs that load the saved tokenizer then ask as in training, and stop at the same
    token. A template that reads eos_token still writes the token that it wrote before.

    Args:
        stop_ids: the ids that end the answers, that of a plain answer first (ChatMasks.stop_ids).
    """
    sources = [template.source, template.tools_source]
    if stop_ids and stop_ids[0] != tokenizer.eos_token_id:
        before = json.dumps(tokenizer.eos_token, ensure_ascii=False)
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(stop_ids[0])
        sources = [
            f"{{%- set eos_token = {before} -%}}\n{source}"
            if source and "eos_token" in source
            else source
            for source in sources
        ]
    source, for_tools = sources
    tokenizer.chat_template = {"default": source, "tool_use": for_tools} if for_tools else source


def render(
    template: ChatTemplate,
    tokenizer: "PreTrainedTokenizerBase",
    conversations: Sequence[Messages],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    generation_prompt: bool = False,
    variables: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the text of each conversation.

    Args:
        tools: the JSON schemas of all the conversations.
        generation_prompt: end with the opening of the assistant's next answer.
        variables: what the template may read besides, such as enable_thinking.

    Raises:
        DataError: the template fails on one of them.
    """
    if not conversations:
        return []
    source = template.tools_source if tools and template.tools_source else template.source
    given: Any = [list(messages) for messages in conversations]
    schemas: Any = list(tools) or None
    try:
        texts = tokenizer.apply_chat_template(
            given,
            tools=schemas,
            chat_template=source,
            tokenize=False,
            add_generation_prompt=generation_prompt,
            **(variables or {}),
        )
    except Exception as error:  # a template is a program, which may raise anything
        reason = first_line(error).rstrip(".")
        if reason.endswith("has no tools"):
            reason += ". Templates with tools are chatml, llama3 and, for model=tiny, tiny"
        raise DataError(f"the chat template does not accept this conversation: {reason}") from error
    return [str(text) for text in texts]


def refused_in_a_row(
    template: ChatTemplate, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[str, ...]:
    """Return the roles of which the template refuses two turns in a row."""
    user, answer = ({"role": role, "content": "a"} for role in ("user", "assistant"))
    refused = []
    for role, turns in (("user", [user, user, answer]), ("assistant", [user, answer, answer])):
        try:
            render(template, tokenizer, [[user, answer]])
            render(template, tokenizer, [turns])
        except DataError:
            refused.append(role)
    return tuple(refused)


def shows_tools(template: ChatTemplate, tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Return whether the template writes the tools of a conversation, or refuses them."""
    probe = {"name": "probed_tool", "description": "", "parameters": {"type": "object"}}
    system, user = {"role": "system", "content": "a"}, {"role": "user", "content": "a"}
    for messages in ([user], [system, user]):  # some write them with a system prompt only
        try:
            [text] = render(
                template, tokenizer, [messages], tools=[{"type": "function", "function": probe}]
            )
        except DataError:
            return True
        if "probed_tool" in text:
            return True
    return False


def _own(tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate | None:
    """Return the tokenizer's template. A tokenizer may have a second one for tools."""
    if not (given := getattr(tokenizer, "chat_template", None)):
        return None
    if isinstance(given, str):
        return ChatTemplate(OWN, given)
    tools_source = given.get("tool_use")
    source = given.get("default", tools_source)
    return source and ChatTemplate(OWN, source, tools_source)


def _format_of(tokenizer: "PreTrainedTokenizerBase") -> str:
    if tokenizer.name_or_path == str(tiny_base()):
        return _TINY
    known = tokenizer.get_added_vocab()
    fitting = (name for name, tokens in _TOKENS.items() if tokens and known.keys() >= {*tokens})
    return next(fitting, _FALLBACK)


def _no_own(place: str) -> ConfigError:
    return ConfigError(
        f"{KEY}={OWN} needs a chat template, which the tokenizer of {place} does not have. Choose "
        f"a format: {KEY}={'|'.join(NAMES)}."
    )


def _check_tokens(name: str, known: Callable[[str], bool], place: str) -> None:
    if lacking := [token for token in _TOKENS[name] if not known(token)]:
        raise ConfigError(
            f"{KEY}={name} writes {lacking[0]}, which is no token of {place}: it "
            "would be ordinary text, at which generation cannot stop. Choose a format that needs "
            f"no such token: {KEY}={'|'.join(n for n, tokens in _TOKENS.items() if not tokens)}."
        )


def _of_file(setting: str) -> ChatTemplate:
    path = expanded(setting, KEY)
    if path.suffix != ".jinja":
        raise ConfigError(
            f"{KEY}={setting} is no chat template. Choose {OWN}, one of {', '.join(NAMES)}, or "
            "the path of a .jinja file."
        )
    try:
        return ChatTemplate(setting, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{KEY}={setting} cannot be read: {reason}. Correct the path.") from error
