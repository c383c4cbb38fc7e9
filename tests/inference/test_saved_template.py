"""A trained model is asked in the chat template that is saved with it, and ends where it says."""

import copy
import json
import shutil

import hydra
import pytest
from transformers import AutoTokenizer

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.overrides import quote_override
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import GenerateConfig
from anima_exp.data.chat.templates import ChatTemplate, named, use_template
from anima_exp.errors import ConfigError, DataError, ModelError
from anima_exp.generate import generate
from anima_exp.inference import prompt_format
from anima_exp.inference.saved_model import load_saved_model, use_saved_template
from anima_exp.inference.saved_template import (
    use_template_of,
    warn_of_other_template,
    with_saved_template,
)
from anima_exp.model.tokenizer import load_tokenizer
from anima_exp.system.paths import shipped

pytestmark = pytest.mark.usefixtures("shown")

# Guanaco's, which the tiny base knows, with an end token of its own.
TALK = ChatTemplate(
    "talk",
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }} {% elif m.role == 'user' %}"
    "### Human: {{ m.content }}{% else %}### Assistant: {{ m.content }}<pad>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}### Assistant: {% endif %}",
)
SETTINGS = (
    "data.max_rows=40", "data.heldout_rows=4", "trainer.batch_size=4", "trainer.eval_every=null",
    "trainer.max_steps=1", "tracking=none", "evals=[]", "quant=none",
)  # fmt: skip
QUESTION = "What is 3 plus 4?"


@pytest.fixture(scope="module")
def trained(compose, tmp_path_factory):
    """A run whose tokenizer was saved with a chat template, as runs on conversations save it."""
    from anima_exp.experiment.run import run

    folder = tmp_path_factory.mktemp("trained") / "run"
    run(compose(*SETTINGS, f"run_dir={folder}"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "adapter")
    use_template(tokenizer, TALK, [tokenizer.convert_tokens_to_ids("<pad>")])
    tokenizer.save_pretrained(folder / "adapter")
    return folder


@pytest.fixture
def config():
    """config("run=...", "temperature=0") -> the settings of the command `generate`."""
    register_schema(GenerateConfig)

    def _config(*arguments):
        given = expand_run_argument([quote_override(str(one)) for one in arguments])
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            return parse(hydra.compose("generate", overrides=given))

    yield _config
    register_schema()


@pytest.fixture
def say(config, capsys):
    """say("run=...", ...) -> what the command writes to stdout, and to stderr."""

    def _say(*arguments):
        made = config(*arguments, "temperature=0", "max_new_tokens=8")
        capsys.readouterr()
        generate(made)
        return capsys.readouterr()

    return _say


@pytest.mark.parametrize("place", ["run={}", "adapter={}/adapter"])
def test_the_saved_template_and_its_end_token_are_used(trained, config, place):
    tokenizer = load_saved_model(config(place.format(trained)))[1]
    assert tokenizer.chat_template == TALK.source
    assert tokenizer.eos_token == "<pad>"


def test_the_user_may_choose_another_template(trained, config):
    chosen = config(f"run={trained}", "prompt_template=chat", "data.template=vicuna")
    tokenizer = load_saved_model(chosen)[1]
    assert (tokenizer.chat_template, tokenizer.eos_token) == (named("vicuna").source, "</s>")


def test_a_base_is_asked_in_a_template_only_if_one_is_chosen(config):
    base = load_tokenizer(config("model=tiny").model)
    for arguments, template in (
        (("data.template=vicuna",), None),
        (("data.template=vicuna", "prompt_template=chat"), named("vicuna").source),
        (("prompt_template=chat", "data.recipe=messages"), named("tiny").source),
        (("prompt_template=chat",), None),
    ):
        tokenizer = copy.deepcopy(base)
        use_saved_template(tokenizer, config("model=tiny", *arguments))
        assert tokenizer.chat_template == template


def test_a_base_whose_eos_is_another_ends_at_its_templates_token(config):
    tokenizer = load_tokenizer(config("model=tiny").model)
    tokenizer.chat_template = TALK.source
    use_saved_template(tokenizer, config("model=tiny", "prompt_template=chat"))
    assert tokenizer.eos_token == "<pad>"


def test_one_question_several_turns_and_a_system_prompt(trained, say, tmp_path):
    chat = (f"run={trained}", "prompt_template=chat")
    assert say(*chat, f"prompt={QUESTION}").out == "7\n"
    (tmp_path / "m.json").write_text(
        json.dumps(
            [
                {"role": "user", "content": "What is 1 plus 1?"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": QUESTION},
            ]
        )
    )
    turns = (f"messages={tmp_path}/m.json", "system=Be {brief}, 'x'")
    assert say(*chat, *turns).out.strip()
    assert say(f"run={trained}", turns[0]).out.strip()  # in Guanaco's format


def test_a_file_of_conversations(trained, say, tmp_path):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
    ]
    rows = [
        {"messages": turns[1:]},
        {"question_id": "b", "messages": turns, "category": "sums", "reference": "7"},
        {"conversations": [{"from": "human", "value": QUESTION}], "system": "Be brief."},
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "a.jsonl"
    say(f"run={trained}", "prompt_template=chat", f"questions={tmp_path}/q.jsonl", f"out={out}")
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["question_id"] for row in answers] == [1, "b", 3]
    assert [row["question"] for row in answers] == [QUESTION] * 3
    assert [row["messages"] for row in answers] == [turns[1:], turns, turns]
    assert answers[0]["text"] == "7"
    assert answers[1]["prompt"] == f"<s>Be brief. ### Human: {QUESTION}### Assistant: "


def test_a_program_may_give_the_messages_of_a_conversation(trained):
    import anima_exp as ax

    chat = {"prompt_template": "chat", "temperature": 0}
    talk = [{"role": "user", "content": QUESTION}]
    assert ax.generate(trained, talk, **chat) == ax.generate(trained, QUESTION, **chat) == "7"
    with pytest.raises(DataError, match=r"prompt: message 2, the last one, is the assistant's"):
        ax.generate(trained, [*talk, {"role": "assistant", "content": "7"}], **chat)


MISTAKES = [
    ([{"role": "assistant", "content": "x"}], "message 1, the last one, is the assistant's, so"),
    ([{"role": "user", "content": " "}], "message 1 (user): the turn is empty."),
    ([], "the conversation has no messages."),
    ([{"role": "owl", "content": "x"}], "message 1 (owl): unknown role. The known roles are"),
    (
        [{"role": "tool", "content": "x"}],
        "no message is the user's, so nothing asks for an answer.",
    ),
    (
        {"rows": []},
        "is neither a list of messages nor an object with `messages`. To answer several",
    ),
]


@pytest.mark.parametrize(("content", "reason"), MISTAKES)
def test_a_file_of_messages_that_cannot_be_answered_is_one_line(say, tmp_path, content, reason):
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        say("model=tiny", f"messages={tmp_path}/m.json")
    assert str(caught.value).startswith(f"messages={tmp_path}/m.json")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (["tools={}/none.json", "prompt=x"], DataError, "none.json: there is no such file."),
        (["tools={}/empty.json", "prompt=x"], DataError, "empty.json holds no tools."),
        (["tools={}/odd.json", "prompt=x"], DataError, "column 'tools' has a tool without a name"),
        (["messages={}/none.jsonl"], DataError, "none.jsonl: there is no such file."),
        (["messages={}/rows.jsonl"], DataError, "For a file with a conversation in each line, use"),
        (["tools={}/tools.json", "prompt=x"], ConfigError, "tools=FILE is for a chat template"),
        (["system=Be brief.", "prompt=x"], ConfigError, "system=TEXT is for a chat template, but"),
        (["thinking=true", "prompt=x"], ConfigError, "thinking=true is for a chat template, but"),
        (["prompt_template=chat", "prompt=x"], ModelError, "choose a chat template with data.temp"),
        (["messages=a.json", "prompt=x"], ConfigError, "messages=a.json and prompt are both set."),
        (["messages=a.json", "questions=b"], ConfigError, "a.json and questions=b are both set."),
        (["messages=a.json", "out=b"], ConfigError, "messages shows its answer."),
    ],
)
def test_settings_that_do_not_fit_are_one_line(say, tmp_path, arguments, error, reason):
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "odd.json").write_text('[{"x": 1}]')
    (tmp_path / "tools.json").write_text('{"tools": [{"name": "add"}]}')
    (tmp_path / "rows.jsonl").write_text('{"messages": []}\n{"messages": []}\n')
    with pytest.raises(error) as caught:
        say("model=tiny", *(argument.format(tmp_path) for argument in arguments))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tools_are_shown_if_the_template_shows_them(trained, say, config, tmp_path):
    (tmp_path / "tools.json").write_text(
        '[{"name": "add", "description": "Adds.", "parameters": {}}]'
    )
    chat = (f"run={trained}", "prompt_template=chat", f"tools={tmp_path}/tools.json", "prompt=Hi")
    with pytest.raises(ConfigError, match="tools=FILE changes nothing, because the chat template"):
        say(*chat)
    source = TALK.source.replace("{{ bos_token }}", "{{ bos_token }}{{ tools | tojson }}")
    (tmp_path / "tools.jinja").write_text(source)
    assert say(*chat, f"data.template={tmp_path}/tools.jinja").out.strip()


def test_of_two_adapters_each_is_asked_in_its_own_template(trained, compose, config, tmp_path):
    from anima_exp.experiment.run import run
    from anima_exp.generate import _loaded

    other = tmp_path / "other"
    run(compose(*SETTINGS, "seed=1", f"run_dir={other}"))
    tokenizer = AutoTokenizer.from_pretrained(other / "adapter")
    use_template(tokenizer, named("vicuna"), [tokenizer.eos_token_id])
    tokenizer.save_pretrained(other / "adapter")
    made = config(f"run={trained}", f"extra_adapters=[{other}]", "prompt_template=chat")
    _, tokenizer, _, adapters = _loaded(made)
    texts = [one.prompter(tokenizer).prompt("Hi").text for one in adapters]
    assert texts[0] == "<s>### Human: Hi### Assistant: "
    assert texts[1].endswith("USER: Hi ASSISTANT:")


def test_the_forms_in_which_tokenizers_save_their_templates(compose, tmp_path):
    tokenizer = load_tokenizer(compose().model)
    forms = {
        "text": {"chat_template": "a", "eos_token": {"content": "<pad>"}},
        "list": {"chat_template": [{"name": "default", "template": "a"}], "eos_token": "<pad>"},
        "two": {
            "chat_template": [
                {"name": "default", "template": "a"},
                {"name": "rag", "template": "b"},
            ]
        },
        "none": {"eos_token": "<pad>"},
    }
    wanted = {"text": "a", "list": "a", "two": {"default": "a", "rag": "b"}, "none": None}
    for name, settings in forms.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer_config.json").write_text(json.dumps(settings))
        mine = copy.deepcopy(tokenizer)
        assert use_template_of(mine, str(tmp_path / name)) is (name != "none")
        assert mine.chat_template == wanted[name]
        assert mine.eos_token == ("<pad>" if name in ("text", "list") else "</s>")
    (tmp_path / "text" / "tokenizer_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"adapter=.*: the files of its tokenizer cannot be read"):
        use_template_of(tokenizer, str(tmp_path / "text"))


def test_an_end_token_that_the_base_lacks_is_a_warning(compose, tmp_path, capsys):
    tokenizer = load_tokenizer(compose().model)
    settings = {"chat_template": "a", "eos_token": "<|im_end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert use_template_of(tokenizer, str(tmp_path))
    assert tokenizer.eos_token == "</s>"
    assert "ends its answers with <|im_end|>, which is no token of" in capsys.readouterr().err


def test_an_adapter_without_its_run_is_prompted_in_its_saved_template(trained, tmp_path, capsys):
    place = str(tmp_path / "elsewhere")
    shutil.copytree(trained / "adapter", place)
    assert prompt_format.of_extra_adapter(place, None, given=None) == "chat"
    assert f"{place} is prompted in the format chat." in capsys.readouterr().err


def test_a_template_file_that_has_gone_is_read_from_the_run(trained, config, tmp_path):
    own = tmp_path / "own.jinja"
    made = config(f"run={trained}", f"data.template={own}")
    assert with_saved_template(made).template == str(trained / "adapter" / "chat_template.jinja")
    own.write_text(TALK.source)
    assert with_saved_template(made).template == str(own)


def test_an_adapter_that_is_trained_further_in_another_template_is_warned_of(trained, capsys):
    adapter = str(trained / "adapter")
    warn_of_other_template(adapter, TALK)
    assert capsys.readouterr().err == ""
    warn_of_other_template(adapter, named("guanaco"))
    said = capsys.readouterr().err
    assert "was trained in another chat template than data.template=guanaco." in said
    assert f"data.template={adapter}/chat_template.jinja" in said
