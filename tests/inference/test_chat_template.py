"""A model with a chat template: what it is asked in, where its answers end, and their thinking."""

import copy
import json

import pytest

from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.templates import NAMES, ChatTemplate, named, use_template
from anima_exp.data.prompts import ChatOptions
from anima_exp.errors import DataError, ModelError, RunError
from anima_exp.inference import answers as answers_module
from anima_exp.inference import speakers as speakers_module
from anima_exp.inference.answers import write
from anima_exp.inference.chat import Chat
from anima_exp.inference.questions import Question
from anima_exp.inference.speakers import ChatParticipant, Stream, answer_once
from anima_exp.model.decoding import Answer, Sampling, decode

# Guanaco's, which the tiny base knows, with an end token of its own.
TALK = ChatTemplate(
    "talk",
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }} {% elif m.role == 'user' %}"
    "### Human: {{ m.content }}{% else %}"
    "### Assistant: {% if loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<pad>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant: {% endif %}"
    "{% if enable_thinking %}<think>\n{% endif %}",
)
PAD = 0


@pytest.fixture(scope="module")
def talking(tiny):
    """(model, tokenizer) of the tiny base with a chat template."""
    tokenizer = copy.deepcopy(tiny[1])
    use_template(tokenizer, TALK, [PAD])
    return tiny[0], tokenizer


@pytest.fixture
def chatting(asked):
    """chatting(thinks=False, temperature=0) -> who is asked in the chat template, and how."""
    from dataclasses import replace

    def _chatting(system=None, thinks=None, **settings):
        request = asked("chat", **({"temperature": 0} | settings))
        return replace(request, options=ChatOptions(system=system, thinks=thinks))

    return _chatting


@pytest.fixture
def says(monkeypatch):
    """says("an answer", ...) lets the model give these answers, token by token."""

    def _says(*texts):
        prompts, left = [], list(texts)

        def _decode(model, tokenizer, asked, *_, watch=None, **__):
            prompts.extend(tokenizer.decode(ids) for ids in asked)
            given = [left.pop(0) for _ in asked]
            if watch:
                for end in range(len(given[0]) + 1):
                    watch(given[0][:end])
            return [Answer(text, "stop", len(text)) for text in given]

        monkeypatch.setattr(speakers_module, "decode", _decode)
        monkeypatch.setattr(answers_module, "decode", _decode)
        return prompts

    return _says


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def once(talking, request, question="Hi", **options):
    written, told = [], []
    speaker = ChatParticipant("base", None, request)
    answer_once(*talking, [speaker], question, write=written.append, tell=told.append, **options)
    return "".join(written), told


def test_the_model_answers_in_its_chat_template(talking, chatting, tiny, asked):
    question = "What is 3 plus 4?"
    assert once(talking, chatting(), question) == ("7\n", [])
    plain = once(tiny, asked(temperature=0), question)
    assert once(talking, chatting(), question) == plain


@pytest.mark.parametrize("name", [*NAMES, "talk"])
def test_an_answer_ends_at_the_templates_token_which_is_not_in_its_text(name):
    import torch
    from support.chat_tokenizers import chat_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    from anima_exp.data.prompts import Prompter

    template = TALK if name == "talk" else named(name)
    tokenizer = copy.deepcopy(chat_tokenizer("bytes"))
    if name == "talk":
        tokenizer.add_special_tokens({"extra_special_tokens": ["<pad>"]})
    tokenizer.pad_token = "</s>"
    tokenizer.chat_template = template.source
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_attention_heads=1, num_key_value_heads=1, **shape
    )
    model = LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    prompter = Prompter("chat", tokenizer)
    said = [*tokenizer.encode("<think>é</think>", add_special_tokens=False), prompter.stop_ids[0]]
    steps = iter([*said, *said])

    def forward(*_, input_ids, **__):
        logits = torch.zeros(len(input_ids), 1, len(tokenizer))
        logits[:, -1, next(steps)] = 1
        return type("Out", (), {"logits": logits, "past_key_values": None})()

    model.forward, model.reads_cache = forward, True
    [answer] = decode(
        model, tokenizer, [prompter.prompt("hi").ids], Sampling(99), stop_ids=prompter.stop_ids
    )
    # <think> is a token of this tokenizer, but not a special one.
    assert answer == Answer("<think>é</think>", "stop", len(said) - 1)


def test_thinking_is_apart_from_the_text_in_a_file(talking, chatting, says, tmp_path):
    says("<think>\n3 and 4.\n</think>\n\n7", "8", "<think>\nwell")
    questions = [Question(n, f"Q{n}", reference="7") for n in (1, 2, 3)]
    written = write(*talking, questions, chatting(), tmp_path / "a.jsonl")
    assert (written.empty, written.match) == (1, 1 / 3)
    assert [(row["text"], row.get("thinking")) for row in rows(tmp_path / "a.jsonl")] == [
        ("7", "3 and 4."),
        ("8", None),
        ("", "well"),
    ]


def test_thinking_that_the_prompt_opens_is_thinking(talking, chatting, says, tmp_path):
    asked = says("3 and 4.\n</think>\n\n7", "3 and 4.\n</think>\n\n7")
    write(*talking, [Question(1, "Q")], chatting(thinks=True), tmp_path / "a.jsonl")
    [row] = rows(tmp_path / "a.jsonl")
    assert asked[0].endswith("### Assistant: <think>\n")
    assert (row["text"], row["thinking"], row["metadata"]["thinking"]) == ("7", "3 and 4.", True)
    shown = once(talking, chatting(thinks=True))[0]
    assert shown == "<think>\n3 and 4.\n</think>\n\n7\n"


def test_hidden_thinking_is_told_and_the_answer_is_alone(talking, chatting, says):
    says("<think>\nabc\n</think>\n\n7 < 8", "<think>\nabc")
    told = "thinking: 3 tokens, not shown (show_thinking=false)."
    assert once(talking, chatting(), show_thinking=False) == ("7 < 8\n", [told])
    empty = "the answer is empty."
    assert once(talking, chatting(), show_thinking=False) == ("\n", [told, empty])


def test_a_stream_without_thinking_shows_what_may_not_begin_it():
    seen, hidden = [], []
    stream = Stream(seen.append, (), hidden.append)
    for end in range(1, 8):
        stream("<thing>"[:end])
    stream.end("<thing>")
    assert ("".join(seen), hidden) == ("<thing>\n", [])


def test_a_chat_keeps_thinking_apart_in_its_history(talking, chatting, says):
    asked = says("<think>\nabc\n</think>\n\n7", "<think>\nd\n</think>\n\n8")
    written = []
    speaker = ChatParticipant("base", None, chatting())
    talk = Chat(*talking, [speaker], show_thinking=False, write=written.append)
    talk.run(["Hi", "And?"])
    assert "(thinking: 3 tokens)\n7\n(thinking: 1 tokens)\n8\n" in "".join(written)
    # The template shows the thinking of the last answer only, if at all.
    assert asked[1] == "<s>### Human: Hi### Assistant: 7<pad>### Human: And?### Assistant: "


def test_a_chat_takes_a_system_prompt(talking, chatting, says, asked):
    prompts = says("a", "b", "c")
    written = []
    speaker = ChatParticipant("base", None, chatting(system="One."))
    Chat(*talking, [speaker], write=written.append).run(
        ["Hi", "/system Be brief.", "Hi", "/reset", "/system", "Hi"]
    )
    assert prompts[0].startswith("<s>One. ### Human: Hi###")
    assert prompts[1].startswith("<s>Be brief. ### Human: Hi### Assistant: a<pad>###")
    assert prompts[2].startswith("<s>### Human: Hi###")
    assert "base: system prompt set.\n" in "".join(written)
    written.clear()
    plain = ChatParticipant("base", None, asked())
    Chat(*talking, [plain], write=written.append).run(["/system x"])
    assert "base: system=TEXT is for a chat template, but the model is prompted in" in "".join(
        written
    )


def test_a_conversation_is_continued(talking, chatting, says, tmp_path):
    prompts = says("7", "9")
    turns = (Message("user", "3+4?"), Message("assistant", "7"), Message("user", "And 2?"))
    conversation = Conversation(turns)
    assert once(talking, chatting(), conversation) == ("7\n", [])
    question = Question(1, "And 2?", conversation=conversation)
    path = tmp_path / "a.jsonl"
    write(*talking, [question], chatting(), path)
    assert prompts[0] == prompts[1]
    assert "### Human: 3+4?### Assistant: 7<pad>### Human: And 2?### Assistant: " in prompts[0]
    [row] = rows(path)
    assert (row["question"], row["messages"]) == ("And 2?", conversation.as_dicts())
    other = Question(1, "And 2?", conversation=Conversation(turns[2:]))
    with pytest.raises(RunError, match="the text of question 1 has changed"):
        write(*talking, [other], chatting(), path)


def test_a_conversation_that_a_format_cannot_show_is_named(talking, asked, chatting, tmp_path):
    turns = (Message("user", "3+4?"), Message("assistant", "7"), Message("user", "And 2?"))
    question = Question(5, "And 2?", conversation=Conversation(turns))
    reason = "Question 5: it has earlier turns, which the format plain cannot show. Use prompt_temp"
    with pytest.raises(DataError, match=reason):
        write(*talking, [question], asked("plain"), tmp_path / "a.jsonl")
    with pytest.raises(
        DataError, match="The conversation cannot be answered: it has earlier turns"
    ):
        once(talking, asked("plain"), Conversation(turns))
    tokenizer = copy.deepcopy(talking[1])
    tokenizer.chat_template = "{{ raise_exception('No.') }}"
    with pytest.raises(ModelError, match="Question 5: prompt_template=chat does not work"):
        write(talking[0], tokenizer, [question], chatting(), tmp_path / "a.jsonl")


def test_options_belong_to_the_answers(talking, chatting, says, tmp_path):
    says("a", "b")
    path = tmp_path / "a.jsonl"
    write(*talking, [Question(1, "Q")], chatting(), path)
    assert not {"system", "tools", "thinking"} & set(rows(path)[0]["metadata"])
    with pytest.raises(RunError, match=r"system=Be brief\. now, null in the file"):
        write(*talking, [Question(1, "Q")], chatting(system="Be brief."), path)
