import pytest

from anima_exp.data import templates
from anima_exp.data.prompts import prompt, stops
from anima_exp.errors import ConfigError, ModelError

ONE = [("Hi", "Hello.")]


def text(tiny, template, question, before=()):
    return prompt(template, tiny[1], question, before).text


def test_guanacos_two_prompts_differ_in_their_spaces(tiny):
    system = templates.GUANACO_SYSTEM
    assert text(tiny, "guanaco_chat", "Q") == f"{system}### Human: Q### Assistant: "
    assert text(tiny, "guanaco_benchmark", "Q") == f"{system}### Human: Q ### Assistant:"


def test_a_dialogue_is_put_as_it_was_trained(tiny):
    said = "### Human: Hi### Assistant: Hello.### Human: Q### Assistant: "
    system = templates.GUANACO_SYSTEM
    assert text(tiny, "guanaco", "Q", ONE) == said
    assert text(tiny, "guanaco_chat", "Q", ONE) == system + said
    assert text(tiny, "guanaco_benchmark", "Q", ONE) == (
        f"{system}### Human: Hi ### Assistant: Hello. ### Human: Q ### Assistant:"
    )
    assert text(tiny, "hh_rlhf", "Q", ONE) == (
        "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Q\n\nAssistant:"
    )


def test_alpaca_has_no_turns(tiny):
    assert text(tiny, "alpaca", "Q", ONE) == templates.alpaca("Q")


def test_a_prompt_begins_with_bos_once(tiny):
    tokenizer = tiny[1]
    ids = prompt("guanaco", tokenizer, "Q").ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1


def test_the_tokenizers_own_template(compose):
    from anima_exp.model.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(compose().model)
    with pytest.raises(ModelError, match=r"prompt_template=chat needs a chat template, which"):
        prompt("chat", tokenizer, "Q")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    put = prompt("chat", tokenizer, "Q", ONE)
    assert put.text == "<s>[user] Hi\n[assistant] Hello.\n[user] Q\n[assistant]"
    assert put.ids.count(tokenizer.bos_token_id) == 1


def test_an_unknown_format_is_told(tiny):
    with pytest.raises(ConfigError, match=r"prompt_template=guanco: there is no .* 'guanaco'"):
        prompt("guanco", tiny[1], "Q")


def test_each_format_ends_where_the_next_speaker_begins():
    assert stops("guanaco_benchmark", None) == stops("alpaca", None) == ("###",)
    assert stops("hh_rlhf", None) == ("\n\nHuman:",)
    assert stops("plain", None) == stops("chat", None) == stops("guanaco", []) == ()
    assert stops("guanaco", ["END"]) == ("END",)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
        ("{% for m in messages %}{{ m.role ", "unexpected end of template"),
        ("{{ messages[9].content.x }}", "list object has no element 9"),
    ],
)
def test_a_template_that_fails_is_one_line(compose, template, reason):
    from anima_exp.model.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(compose().model)
    tokenizer.chat_template = template
    with pytest.raises(ModelError) as error:
        prompt("chat", tokenizer, "Q")
    line = str(error.value)
    assert line.startswith("prompt_template=chat does not work, because the chat template of ")
    assert reason in line
    assert "\n" not in line


def test_a_token_that_a_question_spells_is_text(tiny):
    tokenizer = tiny[1]
    put = prompt("guanaco", tokenizer, "what does </s> close?", [("<s>", "</s>")])
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert put.ids[0] == tokenizer.bos_token_id
    assert special.isdisjoint(put.ids[1:])
    assert tokenizer.decode(put.ids[1:]) == put.text
