"""What is trained on in a conversation, and that it stands there as at inference."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.chat_tokenizers import KINDS, chat_tokenizer
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from anima_exp.data.chat.conversation import Conversation, Message, ToolCall
from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.templates import NAMES, ChatTemplate, choose, named
from anima_exp.data.chat.tokens import ChatEncoder
from anima_exp.data.chat.verification import Verifier
from anima_exp.errors import ConfigError, DataError

SYSTEM = Message("system", "Be brief.")
ADD = {
    "type": "function",
    "function": {"name": "add", "description": "Adds two numbers.", "parameters": {}},
}
TOOLS = Conversation(
    (
        Message("user", "2+3?"),
        Message("assistant", tool_calls=(ToolCall("add", {"a": 2, "b": 3}),)),
        Message("tool", "It is five.", name="add"),
        Message("assistant", "It is 5."),
    ),
    (ADD,),
)
# As Qwen3's: it writes the thinking of the last answer, and removes that of earlier ones.
FORGETS = ChatTemplate(
    "forgets",
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.last %}"
    "{{- '<think>' + (m.reasoning_content or '') + '</think>' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{- '<think></think>' }}"
    "{%- endif %}{%- endif %}",
)


def talk(*texts, system=None, thinking=()):
    """User and assistant in turn"""
    turns = [Message(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)]
    for n, thought in enumerate(thinking):
        turns[2 * n + 1] = Message("assistant", texts[2 * n + 1], thinking=thought)
    return Conversation((*([system] if system else []), *turns))


def jinja(answer="m.content + '<|im_end|>\\n'", asks="'<|im_start|>assistant\\n'", rest=""):
    """The source of ChatML with another answer, another generation prompt, or another end."""
    return (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
        f"{{%- if m.role == 'assistant' %}}{{{{- {answer} }}}}"
        "{%- else %}{{- m.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
        f"{{%- if add_generation_prompt %}}{{{{- {asks} }}}}{{%- else %}}{rest}{{%- endif %}}"
    )


def trained(rows, tokenizer):
    """The text of each run of trained ids, row by row."""
    found = []
    for row in rows:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.mask, [0]])))
        runs = edges.reshape(-1, 2)
        assert runs.tolist() == [[span.start, span.end] for span in row.spans]
        found.append([tokenizer.decode(row.ids[a:b]) for a, b in runs])
    return found


def own_ids(tokenizer, template, conversation, **options):
    return tokenizer.apply_chat_template(
        conversation.as_dicts(),
        tools=list(conversation.tools) or None,
        chat_template=template.source,
        return_dict=False,
        **options,
    )


def error_of(call, *arguments, **options):
    with pytest.raises((DataError, ConfigError)) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    kind = ConfigError if issubclass(caught.type, ConfigError) else DataError
    return kind, str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_format_trains_the_answers_and_what_ends_them(name, kind):
    tokenizer, template = chat_tokenizer(kind), named(name)
    end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>"}
    answers = ["It is 4.", "Bye, é!", "Hello, how are you?"]
    conversation = talk("What is 2+2?", answers[0], "hi", answers[1], "USER: x", answers[2])
    masks = ChatMasks(template, tokenizer)
    for system in (None, SYSTEM):
        system_too = Conversation((*([system] if system else []), *conversation.messages))
        [row] = masks.rows(system_too)
        assert row.ids.tolist() == own_ids(tokenizer, template, system_too)
        [texts] = trained([row], tokenizer)
        assert masks.stop_ids == [row.ids[row.spans[0].end - 1]]
        wanted = [answer + end.get(name, "</s>") for answer in answers]
        assert [text.lstrip() for text in texts] == wanted
        assert row.ids.tolist().count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [*map(named, NAMES), FORGETS], ids=[*NAMES, "forgets"])
def test_what_precedes_a_trained_answer_is_what_the_model_is_given_at_inference(template, kind):
    tokenizer = chat_tokenizer(kind)
    masks = ChatMasks(template, tokenizer)
    conversation = talk("hi", "\n\nIt is 4.", "and?", " Bye.", "x", ": x\n", system=SYSTEM)
    spans = [(row, span) for row in masks.rows(conversation) for span in row.spans]
    assert [span.message for _, span in spans] == [2, 4, 6]
    for row, span in spans:
        asked = Conversation(conversation.messages[: span.message])
        prompt = own_ids(tokenizer, template, asked, add_generation_prompt=True)
        assert row.ids[: span.start].tolist() == prompt == masks.prompt(asked)


def test_an_answer_whose_start_would_join_the_prompts_last_token_leaves_the_prompt_as_it_is():
    tokenizer, template = chat_tokenizer("bytes"), named("chatml")
    conversation = talk("hi", "\n\nBye.", "and?", "It is 4.")
    asked = own_ids(tokenizer, template, talk("hi"), add_generation_prompt=True)
    whole = own_ids(tokenizer, template, talk("hi", "\n\nBye."))
    assert whole[: len(asked)] != asked  # the line breaks are one token
    rows = ChatMasks(template, tokenizer).rows(conversation)
    assert trained(rows, tokenizer) == [["\n\nBye.<|im_end|>"], ["It is 4.<|im_end|>"]]
    assert rows[0].ids[: len(asked)].tolist() == asked
    assert rows[1].ids.tolist() == own_ids(tokenizer, template, conversation)


def test_a_template_that_forgets_thinking_gives_a_row_for_each_answer():
    tokenizer = chat_tokenizer("bytes")
    conversation = talk("hi", "Hello!", "and?", "Bye.", thinking=["A greeting.", "An end."])
    rows = ChatMasks(FORGETS, tokenizer).rows(conversation)
    assert trained(rows, tokenizer) == [
        ["<think>A greeting.</think>Hello!<|im_end|>"],
        ["<think>An end.</think>Bye.<|im_end|>"],
    ]
    assert "A greeting." not in tokenizer.decode(rows[1].ids)


@pytest.mark.parametrize(
    ("thinking", "answers"),
    [
        ("template", ["<think>Greet.</think>Hello!<|im_end|>", "<think></think>Bye.<|im_end|>"]),
        ("keep", ["<think>Greet.</think>Hello!<|im_end|>", "Bye.<|im_end|>"]),
        ("drop", ["Hello!<|im_end|>", "Bye.<|im_end|>"]),
    ],
)
def test_thinking_is_kept_dropped_or_as_the_template_shows_it(thinking, answers):
    tokenizer = chat_tokenizer("bytes")
    conversation = talk("hi", "Hello!", "and?", "Bye.", thinking=["Greet.", None])
    masks = ChatMasks(FORGETS, tokenizer, thinking=thinking)
    rows = masks.rows(conversation)
    assert trained(rows, tokenizer) == [[answer] for answer in answers]
    prompt = tokenizer.decode(masks.prompt(talk("hi")))
    assert prompt.endswith("assistant\n<think></think>" if thinking == "drop" else "assistant\n")


def test_thinking_to_keep_that_the_template_leaves_out_is_an_error():
    masks = ChatMasks(named("llama3"), chat_tokenizer("bytes"), thinking="keep")
    kind, message = error_of(masks.rows, talk("hi", "Hello!", thinking=["Greet."]))
    assert (kind, message) == (
        DataError,
        "the chat template leaves out or changes the thinking of message 2: it writes "
        "'Hello!<|eot_id|>'. data.thinking=drop and data.thinking=template train without it",
    )


@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_tool_calls_are_trained_on_and_results_and_schemas_are_not(name):
    tokenizer = chat_tokenizer("bytes")
    [row] = ChatMasks(named(name), tokenizer).rows(TOOLS)
    [[call, answer]] = trained([row], tokenizer)
    assert call in (
        '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n</tool_call><|im_end|>',
        '{"name": "add", "parameters": {"a": 2, "b": 3}}<|eot_id|>',
    )
    assert answer.startswith("It is 5.")
    rest = tokenizer.decode(row.ids[~row.mask])
    assert "Adds two numbers." in rest
    assert "It is five." in rest


def test_a_template_that_leaves_out_tool_calls_is_an_error_of_the_row():
    masks = ChatMasks(ChatTemplate("mine", jinja()), chat_tokenizer("bytes"))
    assert error_of(masks.rows, TOOLS) == (
        DataError,
        "the chat template leaves out or changes the tool call of message 2: it writes "
        "'<|im_end|>\\n'. Templates with tools are, for example, data.template=chatml and llama3",
    )


def test_train_on_chooses_the_answers():
    tokenizer, template = chat_tokenizer("bytes"), named("chatml")
    first = Message("assistant", "Hello!", train=False)
    conversation = Conversation((SYSTEM, Message("user", "hi"), first, *talk("x", "Bye.").messages))
    bare = Conversation(tuple(replace(one, train=None) for one in conversation.messages))

    def of(train_on):
        return trained(ChatMasks(template, tokenizer, train_on).rows(conversation), tokenizer)

    assert of("assistant") == of("last") == of("message") == [["Bye.<|im_end|>"]]
    conversation, flagged = bare, conversation
    assert of("assistant") == of("message") == [["Hello!<|im_end|>", "Bye.<|im_end|>"]]
    assert of("last") == [["Bye.<|im_end|>"]]
    conversation = flagged
    [row] = ChatMasks(template, tokenizer, "all").rows(conversation)
    assert row.ids.tolist() == own_ids(tokenizer, template, conversation)
    assert row.mask.tolist() == [False] + [True] * (len(row.ids) - 1)  # BOS follows nothing


def test_a_special_token_in_a_text_stays_text():
    tokenizer, template = chat_tokenizer("bytes"), named("chatml")
    spelled = "a<|im_end|>\n<|im_start|>assistant\nb</s>"
    schema = {"type": "function", "function": {"name": "add", "description": "<|im_end|>"}}
    conversation = Conversation(
        (Message("system", "<s>"), *talk(spelled, f"x{spelled}").messages), (schema,)
    )
    [row] = ChatMasks(template, tokenizer).rows(conversation)
    ids = row.ids.tolist()
    token = tokenizer.convert_tokens_to_ids
    assert ids.count(token("<|im_end|>")) == ids.count(token("<|im_start|>")) == 3
    assert ids.count(token("<s>")) == 1
    assert tokenizer.decode(ids) == tokenizer.decode(own_ids(tokenizer, template, conversation))
    assert trained([row], tokenizer) == [[f"x{spelled}<|im_end|>"]]


def test_a_template_that_changes_a_text_with_a_special_token_is_an_error_of_the_row():
    source = jinja().replace("m.content +", "(m.content | replace('</s>', '.')) +")
    masks = ChatMasks(ChatTemplate("mine", source), chat_tokenizer("bytes", bos=None))
    assert masks.rows(talk("a<|im_end|>", "b"))
    kind, message = error_of(masks.rows, talk("a</s>", "b"))
    assert kind is DataError
    assert message.startswith(
        "a message contains a control token, which the chat template does not leave as it is: "
        "'<|im_start|>user\\na.<|im_end|>"
    )


REFUSED = {
    "asks otherwise than it writes": (
        jinja(asks="'<|im_start|>assistant\\n<b>'"),
        "the chat template writes message 2 otherwise than it asks for it: "
        "'>\\n<|im_start|>assistant\\n<b>' in the prompt is "
        "'>\\n<|im_start|>assistant\\nIt is 4.<|im_end|>\\n' in the conversation",
    ),
    "reverses the messages": (
        "{%- for m in messages[::-1] %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>"
        "{%- endfor %}",
        "the chat template writes message 2 otherwise than it asks for it: '<|im_start|>user "
        "What is 2+2?<|im_en' in the prompt is '<|im_start|>assistant It is 4.<|im_e' in "
        "the conversation",
    ),
    "cuts an answer": (
        jinja("m.content[:3] + '<|im_end|>'"),
        "the chat template leaves out or changes the text of message 2: it writes 'It <|im_end|>'",
    ),
    "repeats the question": (
        jinja("m.content + ' ' + messages[0].content + '<|im_end|>'"),
        "the chat template writes other messages into message 2: with other words before it, "
        "'It is 4. What is 2+2?<|i' is 'It is 4. x x 2+2?<|im_en'",
    ),
    "never ends": (
        jinja("m.content + '\\n'"),
        "the chat template writes no token after an answer, at which generation could stop: a "
        "conversation ends with '<|im_start|>assistant\\nb\\n'",
    ),
    "ends an answer twice": (
        jinja("'b<|im_end|>' + m.content + '<|im_end|>'"),
        "message 2 contains the token that ends it, so generation would stop before its end",
    ),
    "writes BOS twice": (
        "<s>{{ bos_token }}" + jinja(),
        "the chat template writes BOS twice",
    ),
    "fails": (
        "{{ raise_exception('No.') }}",
        "the chat template does not accept this conversation: No. Choose",
    ),
    "is no Jinja": ("{% if %}", "the chat template does not accept this conversation: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_template_is_refused_that(case):
    source, reason = REFUSED[case]
    template = ChatTemplate("mine.jinja", source)
    kind, message = error_of(ChatMasks, template, chat_tokenizer("bytes"))
    assert kind is ConfigError
    assert message.startswith(
        f"data.template=mine.jinja cannot be trained with. In a test conversation, {reason}"
    )
    assert message.endswith(
        "Choose another template, or the path of a .jinja file in which this is corrected."
    )


def test_a_template_that_asks_for_thinking_by_default_is_for_rows_with_thinking():
    source = FORGETS.source.replace("and not enable_thinking %}", "and not enable_thinking %}")
    source = source.replace("<think></think>' }}{%- endif", "<>' }}{%- else %}<think>{%- endif")
    source = source.replace("'<think>' +", "('<think>' if m.reasoning_content else '<>') +")
    tokenizer, template = chat_tokenizer("bytes"), ChatTemplate("thinks", source)
    conversation = talk("hi", "Hello!", thinking=["Greet."])
    masks = ChatMasks(template, tokenizer)
    assert trained(masks.rows(conversation), tokenizer) == [["Greet.</think>Hello!<|im_end|>"]]
    kind, message = error_of(masks.rows, talk("hi", "Hello!"))
    assert kind is DataError
    assert message.endswith(
        "; data.thinking=keep asks for each answer as it was written, with thinking or without"
    )
    [row] = ChatMasks(template, tokenizer, thinking="keep").rows(talk("hi", "Hello!"))
    assert trained([row], tokenizer) == [["</think>Hello!<|im_end|>"]]


def test_an_answer_may_end_with_the_token_that_opens_the_next_message():
    tokenizer, template = chat_tokenizer("bytes"), ChatTemplate("mine", jinja("m.content"))
    assert error_of(ChatMasks, template, tokenizer)[0] is ConfigError
    stop = tokenizer.convert_tokens_to_ids("<|im_start|>")
    masks = ChatMasks(template, tokenizer, stops=[stop])
    [row] = masks.rows(talk("hi", "Hello!", "x", "Bye."))
    assert trained([row], tokenizer) == [["Hello!<|im_start|>", "Bye.<|im_start|>"]]
    assert masks.stop_ids == [stop]


def test_a_token_after_the_last_message_alone_does_not_end_answers():
    tokenizer = chat_tokenizer("bytes")
    template = ChatTemplate("mine", jinja(rest="</s>"))
    [row] = ChatMasks(template, tokenizer).rows(talk("hi", "Hello!", "x", "Bye."))
    assert trained([row], tokenizer) == [["Hello!<|im_end|>", "Bye.<|im_end|>"]]
    assert row.ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("conversation", "train_on", "reason"),
    [
        (talk("hi"), "assistant", "no message of the conversation is trained on"),
        (Conversation(()), "all", "the conversation has no message"),
        (
            Conversation((Message("assistant", "a"), Message("user", "b"))),
            "assistant",
            "message 1 is an assistant's, so nothing asks for it",
        ),
        (talk("hi", " \n"), "assistant", "message 2, an assistant's, has no text"),
        (
            Conversation((Message("user", "hi"), Message("assistant", "a", train=False))),
            "message",
            "no message of the conversation is trained on",
        ),
        (
            Conversation((Message("user", "hi", train=True), Message("assistant", "a"))),
            "message",
            "message 1 is to be trained on, but its role is user; data.train_on=message trains "
            "on assistant messages only",
        ),
        (
            Conversation((Message("user", "a"), Message("user", "b"), Message("assistant", "c"))),
            "assistant",
            "the chat template does not accept this conversation: The format gemma has user and "
            "assistant in turn",
        ),
        (
            TOOLS,
            "last",
            "the chat template does not accept this conversation: The format gemma has no tools"
            ". Templates with tools are chatml, llama3 and, for model=tiny, tiny",
        ),
    ],
)
def test_a_conversation_that_cannot_be_trained_on_is_named(conversation, train_on, reason):
    masks = ChatMasks(named("gemma"), chat_tokenizer("bytes"), train_on)
    assert error_of(masks.rows, conversation) == (DataError, reason)


def test_an_error_of_one_conversation_leaves_the_others():
    masks = ChatMasks(named("gemma"), chat_tokenizer("bytes"))
    good = talk("hi", "Hello!")
    twice = Conversation((Message("user", "a"), *good.messages))
    found = masks.rows_of_each([good, TOOLS, talk("hi"), twice, good])
    assert [isinstance(rows, DataError) for rows in found] == [False, True, True, True, False]
    assert found[0][0].ids.tolist() == found[4][0].ids.tolist()


def test_a_conversation_gives_the_same_rows_alone_and_among_others():
    tokenizer = chat_tokenizer("bytes")
    other = Conversation(TOOLS.messages, ({"name": "add"},))
    conversations = [TOOLS, talk("hi", "Hello!", "and?", "Bye."), talk("a<|im_end|>", "b"), other]
    for template in (named("chatml"), FORGETS):
        answers = [c for c in conversations if template.name == "chatml" or not c.tools]
        together = ChatMasks(template, tokenizer).rows_of_each(answers)
        for conversation, rows in zip(answers, together, strict=True):
            alone = ChatMasks(template, tokenizer).rows(conversation)
            assert [row.ids.tolist() for row in rows] == [row.ids.tolist() for row in alone]
            assert [row.spans for row in rows] == [row.spans for row in alone]


def test_a_prompt_that_ends_with_a_space_keeps_it():
    tokenizer = chat_tokenizer("sentencepiece")
    source = named("vicuna").source.replace("'ASSISTANT:' }}", "'ASSISTANT: ' }}")
    template = ChatTemplate("mine", source)
    prompt = own_ids(tokenizer, template, talk("hi"), add_generation_prompt=True)
    assert tokenizer.convert_ids_to_tokens(prompt)[-1] == "▁"
    [row] = ChatMasks(template, tokenizer).rows(talk("hi", "Hello!"))
    assert row.ids[: len(prompt)].tolist() == prompt
    assert tokenizer.decode(row.ids).endswith(" USER: hi ASSISTANT: Hello!</s>")
    assert trained([row], tokenizer) == [["Hello!</s>"]]


def test_a_token_that_the_template_writes_stays_text_in_a_text_even_if_it_is_not_special():
    backend = Tokenizer.from_str(chat_tokenizer("bytes").backend_tokenizer.to_str())
    backend.add_tokens([AddedToken("<turn>", special=False, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    source = "{% for m in messages %}<turn>{{ m.content }}{{ '</s>' if m.role == 'assistant' }}"
    source += "{% endfor %}{% if add_generation_prompt %}<turn>{% endif %}"
    [row] = ChatMasks(ChatTemplate("mine", source), tokenizer).rows(talk("a<turn>", "<think>b"))
    ids = row.ids.tolist()
    assert ids.count(tokenizer.convert_tokens_to_ids("<turn>")) == 2
    assert ids.count(tokenizer.convert_tokens_to_ids("<think>")) == 1  # of the model itself
    assert tokenizer.decode(ids) == "<turn>a<turn><turn><think>b</s>"


def test_the_last_checks_of_a_row():
    tokenizer = chat_tokenizer("bytes")
    encoder = ChatEncoder(tokenizer)
    verifier = Verifier(named("chatml"), tokenizer, encoder)
    text = encoder.divide("<s>a</s>")
    ids = np.array([0, *tokenizer.encode("a", add_special_tokens=False), 1])
    some = np.array([False, True, True])
    verifier.check_row(ids, some, text)
    for row, mask, reason in (
        (ids, some & False, "no token of the row is trained on"),
        (ids, some | True, "every token of the row would be trained on, so nothing asks for them"),
        (
            np.array([0, 1, 1]),
            some,
            "the row has 3 control tokens, but the chat template writes 2: the tokenizer makes a "
            "control token of ordinary text",
        ),
    ):
        assert error_of(verifier.check_row, row, mask, text) == (DataError, reason)


@pytest.mark.parametrize(("folder", "name"), [("llama", "vicuna"), ("qwen2", "tokenizer")])
def test_real_tokenizers_and_real_conversations(shared_data, folder, name):
    tokenizer = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / folder)
    template = choose(name, tokenizer)
    rows = json.loads((shared_data / "instruction/lima/lima.json").read_text())[:30]
    conversations = [talk(row["instruction"], row["output"].strip()) for row in rows]
    end = tokenizer.eos_token
    found = ChatMasks(template, tokenizer).rows_of_each(conversations)
    for conversation, [row] in zip(conversations, found, strict=True):
        answers = [m.content for m in conversation.messages if m.role == "assistant"]
        [texts] = trained([row], tokenizer)
        assert [text.lstrip() for text in texts] == [answer + end for answer in answers]
        assert row.ids.tolist() == own_ids(tokenizer, template, conversation)


def test_a_tokenizer_that_does_not_divide_at_its_special_tokens_is_refused():
    backend = Tokenizer.from_str(chat_tokenizer("sentencepiece").backend_tokenizer.to_str())
    # It is looked for after spaces have been replaced, so the text before it changes with it.
    backend.add_tokens([AddedToken("</s>", special=True, normalized=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    kind, message = error_of(ChatMasks, named("vicuna"), tokenizer)
    assert kind is ConfigError
    assert "gives other ids to a whole conversation than to its parts" in message
