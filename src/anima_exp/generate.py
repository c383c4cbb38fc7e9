"""Ask a finished run, an adapter or a bare base: one question, a file of them, or in a chat.

anima-exp generate run=runs/NAME
anima-exp generate run=runs/A prompt="Introduce yourself" extra_adapters=[runs/B] \
    include_base=true
anima-exp generate adapter=timdettmers/guanaco-7b prompt="Introduce yourself"
anima-exp generate run=runs/NAME questions=tiny_zh temperature=0
"""

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anima_exp.cli.compose import run_command
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import GenerateConfig
from anima_exp.errors import ConfigError
from anima_exp.events import following
from anima_exp.inference.saved_model import adapter_name, check_base, load_saved_model, model_label
from anima_exp.system import paths
from anima_exp.system.terminal import print_stderr

if TYPE_CHECKING:
    from anima_exp.data.chat.conversation import Conversation
    from anima_exp.inference.speakers import ChatParticipant


def generate(config: GenerateConfig) -> None:
    """Answer one question or a file of questions, or start a chat, as the settings say."""
    from anima_exp.data import prompts
    from anima_exp.distributed.environment import rank_info
    from anima_exp.libraries.quiet import quiet_libraries
    from anima_exp.system.hardware import use_expandable_segments

    check(config)
    check_base(config)
    here = rank_info()
    if here.size > 1 and config.questions is None:
        raise ConfigError(
            f"{here.size} processes share questions=FILE. One question and a chat are for one: "
            "start it without torchrun.",
            reported=here.rank > 0,
        )
    prompts.check(config.prompt_template or config.data.prompt_template)
    quiet_libraries()
    use_expandable_segments()
    if config.prompt is not None:
        answer_one(config, config.prompt)
    elif config.messages is not None:
        from anima_exp.inference.conversations import read_messages

        answer_one(config, read_messages(config.messages))
    elif config.questions is not None:
        answer_all(config, config.questions)
    else:
        chat(config)


def check(config: GenerateConfig) -> None:
    """Raise ConfigError for settings that belong to another of the three ways to ask."""
    if config.prompt is not None and not config.prompt.strip():
        raise ConfigError('prompt is empty. Give it a question: prompt="Introduce yourself".')
    if config.prompt is not None and config.questions:
        raise ConfigError(
            f"prompt and questions={config.questions} are both set: one question, or a file of "
            "them. Give one."
        )
    if config.messages is not None and (config.prompt is not None or config.questions):
        other = f"questions={config.questions}" if config.questions else "prompt"
        raise ConfigError(
            f"messages={config.messages} and {other} are both set. Give one: messages for one "
            "conversation, prompt for one question, questions for a file of either."
        )
    if config.questions is None and config.out:
        other = "prompt shows its answer" if config.prompt is not None else "a chat writes no file"
        other = "messages shows its answer" if config.messages is not None else other
        raise ConfigError(f"out={config.out} is for questions=FILE; {other}.")
    if config.questions and config.include_base:
        raise ConfigError(
            "include_base=true is for prompt and the chat. To compare answers to questions, ask "
            "the base by itself: the same command with model=NAME in place of run or adapter."
        )
    if config.questions and config.extra_adapters:
        raise ConfigError(
            "extra_adapters is for prompt and the chat. To compare answers to questions, ask each "
            "by itself: the same command with another run or adapter."
        )
    whole = config.run and config.lora.is_full_finetune
    for key, wanted in (
        ("include_base=true", config.include_base),
        ("extra_adapters", config.extra_adapters),
    ):
        if wanted and whole:
            raise ConfigError(
                f"{key} needs an adapter, but run={config.run} trained every weight: it has none."
            )
        if wanted and not (config.run or config.adapter):
            raise ConfigError(f"{key} needs an adapter: give run=FOLDER or adapter=FOLDER.")


def with_template(arguments: list[str]) -> list[str]:
    """Add `prompt_template=NAME` for a user's `data.prompt_template=NAME`, unless it is given.

    It is how a question is put in every command. Without this, an adapter of unknown origin would
    ask for a format that the user has given.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    template = given.get("data.prompt_template")
    if template and "prompt_template" not in given:
        arguments = [*arguments, f"prompt_template={template}"]
    return expand_run_argument(arguments)


def answer_all(config: GenerateConfig, source: str) -> None:
    """Write an answer to every question of `source` into the file `out`."""
    from anima_exp.inference.questions import load as load_questions

    questions = load_questions(source, config, key="questions", cache=paths.cache(config.cache_dir))
    path = paths.expanded(config.out or f"answers/{model_label(config)}.jsonl", "out")
    if path.is_dir():
        raise ConfigError(f"out={path} is a folder. Give a file, for example {path}/answers.jsonl.")
    from anima_exp.distributed.environment import rank_info
    from anima_exp.distributed.process_group import join_process_group
    from anima_exp.inference import answer_file
    from anima_exp.inference.answers import report, write
    from anima_exp.inference.ask import request_of

    request = request_of(config)
    answer_file.check(
        path, questions, request.settings()
    )  # before a large model is loaded for nothing
    # Under torchrun each process answers a part of the questions.
    with join_process_group(rank_info()) as world, following(world.is_main):
        world.assert_same_on_all_ranks(request.settings())
        model, tokenizer = world.main_process_first(lambda: load_saved_model(config))
        written = write(model, tokenizer, questions, request, path, world)
        report(written, path, config.max_new_tokens)


def answer_one(config: GenerateConfig, question: "str | Conversation") -> None:
    """Print the answer to `question`; all other messages go to stderr."""
    from anima_exp.inference.chat import to_terminal
    from anima_exp.inference.speakers import answer_once

    with redirect_stdout(sys.stderr):
        model, tokenizer, base, adapters = _loaded(config)
    speakers = [base, *adapters] if config.include_base or not adapters else adapters
    answer_once(
        model,
        tokenizer,
        speakers,
        question,
        write=to_terminal,
        tell=print_stderr,
        show_thinking=config.show_thinking,
    )


def chat(config: GenerateConfig) -> None:
    """Chat in the terminal until the user leaves."""
    from anima_exp.inference.chat import Chat, read_user_lines, to_terminal

    model, tokenizer, base, adapters = _loaded(config)
    speakers = [base, *adapters]
    Chat(
        model,
        tokenizer,
        speakers,
        compare=config.include_base,
        show_thinking=config.show_thinking,
        write=to_terminal,
    ).run(read_user_lines())


def _loaded(config: GenerateConfig) -> "tuple[Any, Any, ChatParticipant, list[ChatParticipant]]":
    """Return the model, its tokenizer, the base as a participant, and one for each adapter."""
    from anima_exp.data.prompts import check_options
    from anima_exp.inference.ask import request_of
    from anima_exp.inference.saved_model import tokenizer_of
    from anima_exp.inference.side_by_side import load_extra_adapters
    from anima_exp.inference.speakers import ADAPTER, BASE, ChatParticipant

    request, extra = request_of(config), load_extra_adapters(config)
    model, tokenizer = load_saved_model(config, [other.adapter for other in extra])
    base = ChatParticipant(BASE, None, request)
    if not hasattr(model, "disable_adapter"):
        return model, tokenizer, base, []
    adapters = [ChatParticipant(request.model_id if extra else ADAPTER, adapter_name(0), request)]
    for number, other in enumerate(extra, start=1):
        options = replace(request.options, thinking=other.thinking)
        check_options(other.template, options)
        theirs = replace(request, template=other.template, model_id=other.name, options=options)
        own = tokenizer_of(config.model, other.adapter) if theirs.is_chat else None
        adapters.append(ChatParticipant(other.name, adapter_name(number), theirs, tokenizer=own))
    return model, tokenizer, base, adapters


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(generate, schema=GenerateConfig, config_name="generate", expand=with_template)


if __name__ == "__main__":
    main()
