"""Ask a finished run, an adapter or a bare base: every question of a file, or in a chat.

python -m anima_exp.generate run=runs/tiny-sample-fb542add51
python -m anima_exp.generate run=runs/tiny-sample-fb542add51 questions=tiny_zh temperature=0
python -m anima_exp.generate model=llama7b adapter=FOLDER_OR_HUB_ID questions=vicuna.jsonl \\
    prompt_template=guanaco_benchmark
"""

from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp import paths
from anima_exp.compose import command
from anima_exp.config import GenerateConfig, TargetModules
from anima_exp.errors import ConfigError
from anima_exp.finished import load, name, with_run

if TYPE_CHECKING:
    from anima_exp.answers.write import Asked


def generate(config: GenerateConfig) -> None:
    from anima_exp.answers import prompts
    from anima_exp.quiet import quiet_libraries

    check(config)
    prompts.check(config.prompt_template or config.data.prompt_template)
    quiet_libraries()
    if config.questions is None:
        chat(config)
    else:
        answer(config, config.questions)


def check(config: GenerateConfig) -> None:
    """Raise ConfigError for settings that belong to the other of the two ways to ask."""
    if config.questions is None and config.out:
        raise ConfigError(f"out={config.out} is for questions=FILE; a chat writes no file.")
    if config.questions and config.compare:
        raise ConfigError(
            "compare=true is for the chat. To compare answers to questions, ask the base by "
            "itself: the same command with model=NAME in place of run or adapter."
        )
    whole = config.run and config.lora.target_modules is TargetModules.none
    if config.compare and (whole or not (config.run or config.adapter)):
        raise ConfigError("compare=true needs an adapter: give run=FOLDER or adapter=FOLDER.")


def answer(config: GenerateConfig, place: str) -> None:
    """Every question of `place` into the file `out`."""
    from anima_exp.answers.questions import load as load_questions

    questions = load_questions(place, config, key="questions", cache=paths.cache(config.cache))
    path = Path(config.out or f"answers/{name(config)}.jsonl").expanduser()
    if path.is_dir():
        raise ConfigError(f"out={path} is a folder. Give a file, for example {path}/answers.jsonl.")
    from anima_exp.answers import file
    from anima_exp.answers.write import report, write

    asked = _asked(config)
    file.check(path, questions, asked.settings())  # before a large model is loaded for nothing
    model, tokenizer = load(config)
    report(write(model, tokenizer, questions, asked, path), path, config.max_new_tokens)


def chat(config: GenerateConfig) -> None:
    from anima_exp.answers.chat import Chat, to_terminal, typed

    asked = _asked(config)
    model, tokenizer = load(config)
    Chat(model, tokenizer, asked, compare=config.compare, write=to_terminal).run(typed())


def _asked(config: GenerateConfig) -> "Asked":
    from anima_exp.answers import origin
    from anima_exp.answers.write import Asked

    return Asked(
        config,
        config.prompt_template or config.data.prompt_template,
        name(config),
        origin.of_use(config),
        config.trainer.precision,
    )


if __name__ == "__main__":
    command(generate, schema=GenerateConfig, config_name="generate", expand=with_run)
