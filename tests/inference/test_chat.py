"""A chat: what is shown as an answer grows, what is remembered, and who answers."""

import pytest

from anima_exp.inference.chat import Chat
from anima_exp.inference.speakers import ChatParticipant, Stream


def shown(pieces, stops=("###",)):
    """What was written after each state of a growing text."""
    written = []
    stream = Stream(written.append, stops)
    seen = []
    for piece in pieces:
        stream(piece)
        seen.append("".join(written))
    stream.end(pieces[-1].partition(stops[0])[0] if stops else pieces[-1])
    return seen, "".join(written)


def test_text_is_shown_as_it_comes():
    seen, whole = shown([" One", " One two", " One two."])
    assert (seen, whole) == (["One", "One two", "One two."], "One two.\n")


def test_the_beginning_of_a_stop_string_is_held_back():
    seen, whole = shown(["a", "a #", "a ##", "a "])
    assert seen[:3] == ["a", "a", "a"] and whole == "a\n"
    assert shown(["a", "a #", "a #1"])[0] == ["a", "a", "a #1"]


def test_half_a_character_is_held_back():
    assert shown(["\ufffd", "\ufffd", "猫"]) == (["", "", "猫"], "猫\n")


def test_control_characters_cannot_steer_the_terminal():
    assert shown(["a\x1b[2J"], stops=())[1] == "a\\x1b[2J\n"


@pytest.fixture
def chat(tiny, asked):
    """chat("a line", ...) -> the chat after these lines, and what it wrote."""

    def _chat(*lines, model=None, template="guanaco", compare=False, **settings):
        written = []
        who = asked(template, **({"temperature": 0} | settings))
        speakers = [ChatParticipant("base", None, who)]
        speakers += [ChatParticipant("adapter", "default", who)] if model else []
        talk = Chat(model or tiny[0], tiny[1], speakers, compare=compare, write=written.append)
        talk.run(lines)
        return talk, "".join(written)

    return _chat


def said_by(talk, place=0):
    return talk.everyone[place].history


@pytest.fixture(scope="module")
def adapted(compose):
    """The tiny base with an adapter that says other things."""
    import torch

    from anima_exp.model.adapter import add_lora
    from anima_exp.model.base import load_base

    config = compose("quant=none")
    base = load_base(config.model, config.quant, precision=config.trainer.precision)
    torch.manual_seed(0)
    model = add_lora(base, config.lora).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=5.0)
    return model


def test_a_question_is_answered_and_remembered(chat):
    talk, said = chat("What is 3 plus 4?\n", "\n", "What is 5 plus 4?\n")
    assert "\n7\n" in said
    assert [question for question, _ in said_by(talk)] == [
        "What is 3 plus 4?",
        "What is 5 plus 4?",
    ]
    assert said_by(talk)[0][1] == "7"


def test_reset_forgets(chat):
    assert said_by(chat("Hi", "/reset")[0]) == []


def test_commands_that_are_none_are_told(chat):
    said = chat("/bye", "/both", "/help")[1]
    assert "Unknown command /bye. /help lists the commands." in said
    assert "No adapter is loaded" in said
    assert "/reset    clear the conversation" in said


def test_base_and_adapter_answer_side_by_side(chat, tiny, adapted):
    question = "What is 3 plus 4?"
    talk, said = chat(question, "/base", question, "/reset", model=adapted, compare=True)
    alone = said_by(chat(question)[0])[0][1]
    assert f"base     {alone}\nadapter  " in said
    other = said.partition("adapter  ")[2].partition("\n")[0]
    assert other != alone
    assert [speaker.name for speaker in talk.speakers] == ["base"]


def test_each_remembers_its_own_answers(chat, adapted):
    talk = chat("What is 3 plus 4?", model=adapted, compare=True)[0]
    assert said_by(talk) != said_by(talk, 1)


def test_an_answer_that_is_cut_says_so(chat):
    assert "(truncated after 1 tokens" in chat("Reverse the letters: a b c d", max_new_tokens=1)[1]


def test_turns_that_no_longer_fit_are_forgotten_aloud(chat):
    long = "word " * 200
    talk, said = chat(*[long] * 12, max_new_tokens=2)
    assert "turns no longer fit the context and were dropped)" in said
    assert 0 < len(said_by(talk)) < 12
    assert "longer than the model's context" in chat("word " * 2000)[1]


def test_a_format_without_turns_says_that_each_question_stands_alone(chat):
    assert "the model sees each question on its own" in chat("Hi", template="alpaca")[1]


def test_ctrl_c_stops_the_answer_and_not_the_chat(chat, monkeypatch):
    from anima_exp.inference import speakers as module

    real, calls = module.decode, []

    def interrupted(*args, watch, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            watch("so far")
            raise KeyboardInterrupt
        return real(*args, watch=watch, **kwargs)

    monkeypatch.setattr(module, "decode", interrupted)
    talk, said = chat("Hi", "What is 3 plus 4?")
    assert "so far\n(stopped)\n" in said
    assert said_by(talk)[0] == ("Hi", "so far") and len(said_by(talk)) == 2


def test_several_adapters_are_named_and_chosen_by_number(tiny, adapted, asked):
    written, who = [], asked(temperature=0)
    speakers = [
        ChatParticipant("base", None, who),
        ChatParticipant("run-a", "default", who),
        ChatParticipant("run-b", "default", asked("alpaca", temperature=0)),
    ]
    talk = Chat(adapted, tiny[1], speakers, write=written.append)
    talk.run(["Hi", "/2", "Hi", "/all", "Hi", "/base", "/adapters", "/3", "/help"])
    said = "".join(written)
    assert "1  tiny, prompt format guanaco\n2  tiny, prompt format alpaca, which has no" in said
    assert said.index("run-a  ") < said.index("run-b  ") < said.index("Now answering: run-b.\n")
    assert "Now answering: base and run-a and run-b.\nbase   " in said
    assert "Now answering: base.\nNow answering: run-a and run-b.\nUnknown command /3." in said
    assert "/1 /2 ...  only that adapter answers" in said
    assert [len(speaker.history) for speaker in speakers] == [1, 2, 3]
