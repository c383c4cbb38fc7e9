"""Run all evaluations of a run on a model, and return their scores."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch

from anima_exp.config import RunConfig, benchmark_key, benchmarks_of
from anima_exp.config.neutral_text import KEY as FORGETTING_KEY
from anima_exp.data.prompts import ChatOptions
from anima_exp.distributed.world import SINGLE_PROCESS, ProcessGroup
from anima_exp.errors import ConfigError, ModelError, TrainingError, first_line
from anima_exp.evals.custom import Custom, EvalContext, described, load
from anima_exp.evals.exact_match import exact_match
from anima_exp.evals.forgetting import TextLosses, scores_of, text_losses
from anima_exp.evals.heldout import heldout_losses
from anima_exp.evals.multiple_choice.measure import (
    Accuracy,
    PreparedBenchmark,
    multiple_choice,
    prepare_benchmark,
)
from anima_exp.evals.neutral_text import NeutralText, read
from anima_exp.evals.samples import samples
from anima_exp.model.base_config import context_length
from anima_exp.model.generation import inference_mode

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from anima_exp.data.rows import TokenizedDataset


@dataclass(frozen=True)
class PreparedEvals:
    """The evaluations of a run, prepared once."""

    config: RunConfig
    tokenizer: "PreTrainedTokenizerBase"
    heldout: "TokenizedDataset | tuple[()]"
    benchmarks: Mapping[str, PreparedBenchmark]
    custom: Mapping[str, Custom] = field(default_factory=dict)
    text: NeutralText | None = None  # of evals.forgetting

    def described(self, scores: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the descriptions of the user's own scores, for metrics/metric.py."""
        return described(self.config, scores)


@dataclass(frozen=True)
class EvalResult:
    """The result of all evaluations at one step."""

    scores: dict[str, float] = field(default_factory=dict)
    generations: list[tuple[str, str]] = field(default_factory=list)  # (question, answer)
    accuracies: dict[str, Accuracy] = field(default_factory=dict)  # by benchmark
    seconds: float = 0.0
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)  # descriptions by score
    text: TextLosses | None = None  # of evals.forgetting

    def rows(self) -> dict[str, list[dict[str, object]]]:
        """Return the accuracies of each benchmark as rows, by subject, category and mean."""
        return {name: one.rows() for name, one in self.accuracies.items()}


def prepare_evals(
    config: RunConfig, tokenizer: "PreTrainedTokenizerBase", heldout: "TokenizedDataset | tuple[()]"
) -> PreparedEvals:
    """Read and tokenize the questions of the evaluations, before a model is loaded.

    Raises:
        DataError, ConfigError, ModelError: if a benchmark cannot be read or encoded.
    """
    custom = load(config)
    ready = {
        name: prepare_benchmark(name, settings, tokenizer)
        for name, settings in benchmarks_of(config.evals).items()
    }
    forgetting = config.evals.forgetting
    text = read(forgetting, config.model.source, tokenizer) if forgetting else None
    return PreparedEvals(config, tokenizer, heldout, ready, custom, text)


def check_positions(model: "PreTrainedModel | PeftModel", evals: PreparedEvals) -> None:
    """Raise ConfigError if a prompt is longer than the model's context."""
    positions = context_length(model.config)
    for name, ready in evals.benchmarks.items():
        if positions and ready.longest > positions:
            key = benchmark_key(name)
            raise ConfigError(
                f"{key} has prompts of up to {ready.longest} tokens, but the context of "
                f"{evals.config.model.source} holds {positions}. Set "
                f"{key}.max_prompt_tokens={positions}."
            )
    if positions and evals.text and evals.text.longest > positions:
        raise ConfigError(
            f"{FORGETTING_KEY} has rows of {evals.text.longest} tokens, but the context of "
            f"{evals.config.model.source} holds {positions}. Set "
            f"{FORGETTING_KEY}.row_tokens={positions}."
        )


def measure(
    model: "PreTrainedModel | PeftModel",
    evals: PreparedEvals,
    world: ProcessGroup = SINGLE_PROCESS,
    *,
    step: int | None = None,
) -> EvalResult:
    """Run all chosen evaluations. Several processes share the work, and all get the scores.

    Args:
        step: the training step of the model; None if it is not being trained.

    Raises:
        TrainingError: if a score is not finite.
        ConfigError: if a user's evaluation did not return a number.
        ModelError: if an evaluation ran out of GPU memory.
    """
    try:
        return _measure(model, evals, world, step)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"An evaluation ran out of GPU memory: {first_line(error)} Lower "
            "evals.heldout.batch_tokens, evals.exact_match.batch_size, or evals.NAME.batch_tokens."
        ) from error


def _measure(
    model: "PreTrainedModel | PeftModel",
    evals: PreparedEvals,
    world: ProcessGroup,
    step: int | None,
) -> EvalResult:
    config, tokenizer = evals.config, evals.tokenizer
    heldout = cast("TokenizedDataset", evals.heldout)  # or (), which has no length
    on, generations = config.evals, []
    scores: dict[str, float] = {}
    started = time.perf_counter()
    with inference_mode(model, config.trainer.precision):
        if on.heldout and len(heldout):
            scores |= heldout_losses(model, heldout, on.heldout, world)
            _check_finite(scores)  # a diverged model cannot generate answers
        if on.exact_match and config.data.exact_answers and len(heldout):
            scores |= exact_match(model, tokenizer, heldout, on.exact_match, world)
        if on.samples and on.samples.prompts:
            generations = samples(
                model,
                tokenizer,
                on.samples,
                template=config.data.prompt_template,
                options=ChatOptions(thinking=config.data.thinking),
                world=world,
            )
        text = None
        if on.forgetting and evals.text:
            text = text_losses(model, evals.text, on.forgetting, world)
            scores |= scores_of(text)
        accuracies = {
            name: multiple_choice(model, ready, world).accuracy
            for name, ready in evals.benchmarks.items()
        }
        for name, found in accuracies.items():
            scores |= found.scores(evals.benchmarks[name].benchmark.scores)
        _check_finite(scores)
        context = EvalContext(model, tokenizer, config, step, heldout, world)
        for one in evals.custom.values():
            scores |= one.scores(context, taken=scores)
    seconds = time.perf_counter() - started
    return EvalResult(scores, generations, accuracies, seconds, evals.described(scores), text)


def _check_finite(scores: Mapping[str, float]) -> None:
    for name, score in scores.items():
        if not math.isfinite(score):
            raise TrainingError(
                f"The {name} is {score}: the run has diverged. Lower optimizer.learning_rate."
            )
