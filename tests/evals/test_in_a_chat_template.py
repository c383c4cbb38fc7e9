"""Samples and evaluations of one's own ask a run on conversations in its chat template."""

from dataclasses import replace

import pytest

from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.templates import ChatTemplate, use_template
from anima_exp.evals.context import EvalContext
from anima_exp.evals.samples import samples
from anima_exp.model.generation import inference_mode

TALK = ChatTemplate(
    "talk",
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}### Human: {% else %}"
    "### Assistant: {% endif %}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant: {% endif %}",
)
QUESTION = "What is 3 plus 4?"


@pytest.fixture(scope="module")
def tiny(compose):
    """(config, model, tokenizer) of the bare base, whose tokenizer has a chat template."""
    from anima_exp.model.base import load_base
    from anima_exp.model.tokenizer import load_tokenizer

    config = compose(
        "quant=none", "data.prompt_template=chat", f"evals.samples.prompts=[{QUESTION}]"
    )
    model = load_base(config.model, config.quant, precision=config.trainer.precision)
    tokenizer = load_tokenizer(config.model)
    use_template(tokenizer, TALK, [])
    return config, model.eval(), tokenizer


def test_samples(tiny):
    config, model, tokenizer = tiny
    with inference_mode(model, config.trainer.precision):
        found = samples(model, tokenizer, config.evals.samples, template="chat")
        plain = samples(model, tokenizer, config.evals.samples, template="guanaco")
    assert found == plain == [(QUESTION, "7")]


def test_the_context_of_an_evaluation(tiny):
    config, model, tokenizer = tiny
    context = EvalContext(model, tokenizer, config, None)
    conversation = Conversation((Message("user", QUESTION),))
    with inference_mode(model, config.trainer.precision):
        found = context.generate([QUESTION, conversation], max_new_tokens=8)
        guanaco = replace(config, data=replace(config.data, prompt_template="guanaco"))
        plain = EvalContext(model, tokenizer, guanaco, None).generate([QUESTION, conversation])
    assert found == plain == ["7", "7"]
