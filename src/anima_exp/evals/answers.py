"""Check the questions of evals.answers before training, and answer them after it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.config import RunConfig
from anima_exp.system import paths

if TYPE_CHECKING:
    from anima_exp.evals.evaluator import EvalResult
    from anima_exp.experiment.setup import Setup

FILE = "answers.jsonl"
KEY = "evals.answers.questions"


def check(config: RunConfig) -> None:
    """Raise for questions or a prompt format that are not there, before anything is loaded."""
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
    """Raise for a question that this model cannot be asked, before it is trained."""
    if config.evals.answers is None:
        return
    from anima_exp.inference.answers import ask

    asked = _asked(config)
    for question in _questions(config):
        ask(setup.model, setup.tokenizer, question, asked)


def add_to_result(
    found: "EvalResult", config: RunConfig, setup: "Setup", folder: Path, *, same_weights: bool
) -> Any:
    """`found` (evals.measure.Measured), with the answers' score and the time they took.

    Args:
        setup: of experiment/setup.py; its model and tokenizer are asked, by all of its evaluators.
        same_weights: answers that an earlier start left are this model's; else they go.
    """
    from anima_exp.inference.answers import report, write

    assert config.evals.answers is not None
    path = folder / FILE
    if not same_weights and setup.evaluators.is_main:
        path.unlink(missing_ok=True)
    questions = _questions(config)
    written = write(setup.model, setup.tokenizer, questions, _asked(config), path, setup.evaluators)
    report(written, path, config.evals.answers.max_new_tokens)
    scores = {} if written.match is None else {"answers_match": written.match}
    return replace(found, scores=found.scores | scores, seconds=found.seconds + written.seconds)


def _questions(config: RunConfig) -> Any:
    from anima_exp.inference.questions import load

    answers = config.evals.answers
    assert answers is not None
    return load(answers.questions, answers, key=KEY, cache=paths.cache(config.cache_dir))


def _asked(config: RunConfig) -> Any:
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
    )
