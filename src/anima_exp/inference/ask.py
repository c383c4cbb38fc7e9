"""Answer questions for a Python program: the answers are returned, not streamed or written."""

from collections.abc import Sequence

from anima_exp.config import GenerateConfig
from anima_exp.data import prompts
from anima_exp.data.chat.asking import Prompt, split_thinking, with_opening
from anima_exp.data.chat.conversation import Conversation
from anima_exp.distributed.process_state import borrowed
from anima_exp.errors import ConfigError
from anima_exp.inference import prompt_format
from anima_exp.inference.answers import GenerationRequest, build_prompt, seed
from anima_exp.inference.conversations import question_of, read_tools
from anima_exp.inference.questions import Question
from anima_exp.inference.saved_model import check_base, load_saved_model, model_label
from anima_exp.model.decoding import Answer, decode
from anima_exp.model.generation import inference_mode


def answer_questions(config: GenerateConfig, questions: Sequence[str | Conversation]) -> list[str]:
    """Answer each question or conversation, `config.batch_size` at a time.

    The first question gets the same answer as a single question of the `generate` command.

    Raises:
        ConfigError: if a question is empty, or the prompt format is not known.
        DataError: if a question leaves no room for an answer in the model's context.
    """
    for text in questions:
        if isinstance(text, str) and not text.strip():
            raise ConfigError("A question is empty. Give a text to answer.")
    prompts.check(config.prompt_template or config.data.prompt_template)
    check_base(config)
    request = request_of(config)
    answers: list[str] = []
    with borrowed():
        model, tokenizer = load_saved_model(config)
        prompter = request.prompter(tokenizer)
        numbered = [_question(number, one) for number, one in enumerate(questions, start=1)]
        for start in range(0, len(numbered), config.batch_size):
            batch = numbered[start : start + config.batch_size]
            built = [build_prompt(model, question, prompter) for question in batch]
            with inference_mode(model, request.precision):
                decoded = decode(
                    model,
                    tokenizer,
                    [prompt.ids for prompt in built],
                    request.sampling(),
                    stop_ids=prompter.stop_ids,
                    seeds=[seed(config.sampling_seed, question.id) for question in batch],
                )
            answers += [
                _text(answer, prompt, config, request)
                for answer, prompt in zip(decoded, built, strict=True)
            ]
    return answers


def _question(number: int, one: str | Conversation) -> Question:
    if isinstance(one, str):
        return Question(number, one)
    return Question(number, question_of(one), conversation=one)


def _text(
    answer: Answer, prompt: Prompt, config: GenerateConfig, request: GenerationRequest
) -> str:
    """Return the text of an answer, with its thinking unless show_thinking is false."""
    if not request.is_chat:
        return answer.text.strip()
    text = with_opening(answer.text, prompt)
    return (text if config.show_thinking else split_thinking(text)[1]).strip()


def request_of(config: GenerateConfig) -> GenerationRequest:
    """Return who answers and how, as the settings of `generate` say.

    Raises:
        ConfigError: if the prompt format is not known, or does not take the settings of a chat.
        DataError: if the file of tools cannot be read.
    """
    template = prompt_format.of_config(config)
    options = prompts.ChatOptions(
        system=config.system,
        tools=read_tools(config.tools) if config.tools else (),
        thinking=config.data.thinking,
        thinks=config.thinking,
    )
    prompts.check_options(template, options)
    return GenerationRequest(
        config,
        template,
        model_label(config),
        prompt_format.of_use(config),
        config.trainer.precision,
        options,
    )
