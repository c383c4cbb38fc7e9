"""Check the questions of evals.answers before training, and answer them after it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import RunConfig
from anima_exp.system import paths

if TYPE_CHECKING:
    from anima_exp.evals.evaluator import EvalResult
    from anima_exp.experiment.setup import Setup
    from anima_exp.inference.answers import GenerationRequest
    from anima_exp.inference.questions import Question

FILE = "answers.jsonl"
KEY = "evals.answers.questions"


def check(config: RunConfig) -> None:
    """Raise if the questions or the prompt format cannot be read, before anything is loaded."""
    if config.evals.answers is None:
        return
    from anima_exp.data import prompts
    from anima_exp.inference import questions

    if config.evals.answers.prompt_template:
        prompts.check(config.evals.answers.prompt_template, key="evals.answers.prompt_template")
    questions.load(
        config.evals.answers.questions,
        config.evals.answers,
        key=KEY,
        cache=paths.cache(config.cache_dir),
    )


def check_prompts(config: RunConfig, setup: "Setup") -> None:
    """Raise if a question does not fit into the model's context, before training."""
    if config.evals.answers is None:
        return
    from anima_exp.inference.answers import build_prompt

    prompter = _request(config).prompter(setup.tokenizer)
    for question in _questions(config):
        build_prompt(setup.model, question, prompter)


def add_to_result(
    result: "EvalResult", config: RunConfig, setup: "Setup", folder: Path, *, same_weights: bool
) -> "EvalResult":
    """Answer the questions, and return `result` with the score of the answers and their time.

    Args:
        folder: the run folder, which receives the answers.
        same_weights: keep the answers of an earlier start, which this model gave too.
    """
    from anima_exp.inference.answers import report, write

    assert config.evals.answers is not None
    path = folder / FILE
    if not same_weights and setup.evaluators.is_main:
        path.unlink(missing_ok=True)
    questions = _questions(config)
    request = _request(config)
    written = write(setup.model, setup.tokenizer, questions, request, path, setup.evaluators)
    report(written, path, config.evals.answers.max_new_tokens)
    scores = {} if written.match is None else {"answers_match": written.match}
    seconds = result.seconds + written.seconds
    return replace(result, scores=result.scores | scores, seconds=seconds)


def _questions(config: RunConfig) -> "list[Question]":
    from anima_exp.inference.questions import load

    answers = config.evals.answers
    assert answers is not None
    return load(answers.questions, answers, key=KEY, cache=paths.cache(config.cache_dir))


def _request(config: RunConfig) -> "GenerationRequest":
    from anima_exp.data.prompts import ChatOptions
    from anima_exp.inference import prompt_format
    from anima_exp.inference.answers import GenerationRequest
    from anima_exp.results import identity

    assert config.evals.answers is not None
    return GenerationRequest(
        config.evals.answers,
        config.evals.answers.prompt_template or config.data.prompt_template,
        Path(config.run_dir).name if config.run_dir else identity.run_name(config),
        prompt_format.of_run(config),
        config.trainer.precision,
        ChatOptions(thinking=config.data.thinking),
    )
