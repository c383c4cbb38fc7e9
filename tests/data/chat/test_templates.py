"""Which chat template is used, and what its hash covers."""

import contextlib
import copy

import pytest
from support.chat_tokenizers import chat_tokenizer
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.templates import (
    ALTERNATING,
    NAMES,
    ChatTemplate,
    check_setting,
    choose,
    named,
    refused_in_a_row,
    render,
    shows_tools,
    use_template,
)
from anima_exp.errors import ConfigError, DataError


def tokenizer_with(*tokens, template=None):
    backend = Tokenizer(models.BPE())
    backend.add_special_tokens(["</s>", *tokens])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", chat_template=template, name_or_path="mine"
    )


def error_of(setting, tokenizer):
    with pytest.raises(ConfigError) as caught:
        choose(setting, tokenizer)
    return str(caught.value)


def test_the_tokenizers_own_template_is_the_default():
    tokenizer = tokenizer_with("<|im_start|>", "<|im_end|>", template="{{ messages }}")
    assert choose(None, tokenizer) == choose("tokenizer", tokenizer)
    assert choose(None, tokenizer) == ChatTemplate("tokenizer", "{{ messages }}")
    assert choose("guanaco", tokenizer) == named("guanaco")


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (("<|im_start|>", "<|im_end|>"), "chatml"),
        (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "llama3"),
        (("<start_of_turn>", "<end_of_turn>"), "gemma"),
        (("<|im_start|>",), "guanaco"),
        ((), "guanaco"),
    ],
)
def test_without_one_the_tokens_of_the_tokenizer_say_which_format_fits(tokens, name):
    assert choose(None, tokenizer_with(*tokens)) == named(name)


def test_a_tokenizer_may_have_a_second_template_for_tools():
    tokenizer = tokenizer_with(
        template={"default": "plain", "tool_use": "with {{ tools | length }}"}
    )
    template = choose(None, tokenizer)
    messages = [[{"role": "user", "content": "a"}]]
    assert render(template, tokenizer, messages) == ["plain"]
    assert render(template, tokenizer, messages, tools=[{"name": "add"}]) == ["with 1"]
    assert template.fingerprint != ChatTemplate("tokenizer", "plain").fingerprint


def test_a_file_is_read_and_its_hash_is_that_of_its_content(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(named("vicuna").source, encoding="utf-8")
    template = choose(str(path), tokenizer_with())
    assert template.name == str(path)
    assert template.fingerprint == named("vicuna").fingerprint
    path.write_text("{{ messages }}", encoding="utf-8")
    assert choose(str(path), tokenizer_with()).fingerprint != template.fingerprint
    assert len({named(name).fingerprint for name in NAMES}) == len(NAMES)


def test_what_cannot_be_used_is_said_with_a_way_out(tmp_path):
    tokenizer = tokenizer_with()
    formats = "chatml|llama3|gemma|mistral|guanaco|vicuna|alpaca"
    assert error_of("tokenizer", tokenizer) == (
        "data.template=tokenizer needs a chat template, which the tokenizer of mine does not have. "
        f"Choose a format: data.template={formats}."
    )
    assert error_of("chatml", tokenizer) == (
        "data.template=chatml writes <|im_start|>, which is no token of mine: it would be ordinary "
        "text, at which generation cannot stop. Choose a format that needs no such token: "
        "data.template=mistral|guanaco|vicuna|alpaca."
    )
    assert error_of("chatlm", tokenizer) == (
        "data.template=chatlm is no chat template. Choose tokenizer, one of chatml, llama3, gemma, "
        "mistral, guanaco, vicuna, alpaca, or the path of a .jinja file."
    )
    assert error_of(f"{tmp_path}/a.jinja", tokenizer) == (
        f"data.template={tmp_path}/a.jinja cannot be read: No such file or directory. "
        "Correct the path."
    )


def test_a_template_that_fails_is_an_error_of_one_line():
    broken = ChatTemplate("mine", "{{ raise_exception('One\nTwo') }}")
    with pytest.raises(DataError) as caught:
        render(broken, chat_tokenizer("bytes"), [[{"role": "user", "content": "a"}]])
    assert str(caught.value) == "the chat template does not accept this conversation: One"


@pytest.mark.parametrize("bos", ["<s>", "</s>", None])
@pytest.mark.parametrize("name", NAMES)
def test_the_saved_tokenizer_asks_as_in_training_and_ends_at_the_templates_token(
    name, bos, tmp_path
):
    template = named(name)
    tokenizer = copy.deepcopy(chat_tokenizer("bytes", bos))
    masks = ChatMasks(template, tokenizer)
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "and?"},
    ]
    [before] = render(template, tokenizer, [messages], generation_prompt=True)
    use_template(tokenizer, template, masks.stop_ids)
    tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    after = saved.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert after == before
    assert saved.eos_token_id == masks.stop_ids[0]
    assert choose(None, saved).source.endswith(template.source)
    assert saved.pad_token == tokenizer.pad_token


def test_both_templates_of_a_tokenizer_are_saved(tmp_path):
    tokenizer = copy.deepcopy(chat_tokenizer("bytes"))
    template = ChatTemplate("both", "{{ bos_token }}a", "{{ eos_token }}{{ tools | length }}")
    use_template(tokenizer, template, [tokenizer.convert_tokens_to_ids("<|im_end|>")])
    tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    messages = [[{"role": "user", "content": "a"}]]
    assert saved.eos_token == "<|im_end|>"
    assert render(choose(None, saved), saved, messages) == ["<s>a"]
    assert render(choose(None, saved), saved, messages, tools=[{"name": "add"}]) == ["</s>1"]


@pytest.mark.parametrize("tokens", [(), ("<|im_start|>", "<|im_end|>")])
@pytest.mark.parametrize("template", [None, "{{ messages }}"])
@pytest.mark.parametrize("setting", [None, "tokenizer", *NAMES, "none.jinja", "chatlm"])
def test_what_is_refused_for_a_tokenizer_is_refused_for_its_files(
    tmp_path, tokens, template, setting
):
    tokenizer = tokenizer_with(*tokens, template=template)
    tokenizer.save_pretrained(tmp_path)

    def outcome(call):
        with contextlib.suppress(ConfigError):
            call()
            return None
        with pytest.raises(ConfigError) as caught:
            call()
        return str(caught.value)

    checked = outcome(lambda: check_setting(setting, tmp_path / "tokenizer.json", place="mine"))
    assert checked == outcome(lambda: choose(setting, tokenizer))


def test_without_the_files_of_the_tokenizer_only_the_name_is_checked():
    for setting in (None, "tokenizer", *NAMES):
        check_setting(setting, None, place="a/b")
    with pytest.raises(ConfigError, match=r"data\.template=chatlm is no chat template"):
        check_setting("chatlm", None, place="a/b")


@pytest.mark.parametrize("name", NAMES)
def test_the_formats_that_refuse_two_turns_in_a_row_are_known_without_rendering(name):
    tokenizer = chat_tokenizer("bytes")
    assert refused_in_a_row(named(name), tokenizer) == ALTERNATING.get(name, ())


@pytest.mark.parametrize(("name", "shows"), [("chatml", True), ("llama3", True), ("bare", False)])
def test_a_template_shows_the_tools_or_does_not(name, shows):
    template = ChatTemplate("mine", "{{ messages[0].content }}") if name == "bare" else named(name)
    assert shows_tools(template, chat_tokenizer("bytes")) is shows
