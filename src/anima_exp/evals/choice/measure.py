"""A benchmark made ready once -> what a model scores on it, as often as asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from anima_exp.config import ChoiceScore, MultipleChoiceConfig
from anima_exp.evals.choice.accuracy import Accuracy, accuracy
from anima_exp.evals.choice.benchmark import Benchmark
from anima_exp.evals.choice.fit import Asked, fit
from anima_exp.evals.choice.read import read
from anima_exp.parallel.world import ALONE, World


@dataclass(frozen=True)
class Ready:
    """A benchmark as a tokenizer sees it."""

    benchmark: Benchmark
    config: MultipleChoiceConfig
    asked: Sequence[Asked]

    @property
    def without_some_examples(self) -> int:
        """How many questions had no room for all their worked examples."""
        return sum(one.shots < self.config.shots for one in self.asked)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with what is scored behind it."""
        return max(len(one.ids) + max(map(len, one.options)) - 1 for one in self.asked)


@dataclass(frozen=True)
class Found:
    accuracy: Accuracy
    chosen: list[int]  # the choice that the model finds likeliest, for each question


def make_ready(name: str, config: MultipleChoiceConfig, tokenizer: Any) -> Ready:
    """Raises DataError, ConfigError or ModelError; see `read` and `fit`."""
    benchmark = read(name, config)
    return Ready(benchmark, config, fit(benchmark, config, tokenizer))


def multiple_choice(model: Any, ready: Ready, world: World = ALONE) -> Found:
    """Accuracy of the likeliest choice; inside `inference`."""
    # Questions with the same examples before them share the most.
    in_order = sorted(range(len(ready.asked)), key=lambda n: _shared(ready.asked[n]))
    groups = [list(g) for _, g in groupby(in_order, key=lambda n: _shared(ready.asked[n]))]

    def answered(some: Sequence[list[int]]) -> list[list[int]]:
        return [_best(model, [ready.asked[n] for n in numbers], ready.config) for numbers in some]

    chosen = [0] * len(ready.asked)
    for numbers, best in zip(groups, world.spread(groups, answered), strict=True):
        for number, choice in zip(numbers, best, strict=True):
            chosen[number] = choice
    right = [one.answer == choice for one, choice in zip(ready.asked, chosen, strict=True)]
    subjects = [one.subject for one in ready.asked]
    return Found(accuracy(subjects, right, ready.benchmark.categories), chosen)


def _shared(asked: Asked) -> tuple[str, int]:
    return asked.subject, asked.shots


def _best(model: Any, asked: list[Asked], config: MultipleChoiceConfig) -> list[int]:
    from anima_exp.evals.choice.likelihood import answers, letters

    if config.score is ChoiceScore.letter:
        most = max(asked, key=lambda one: len(one.options))
        logits = letters(
            model,
            [one.ids for one in asked],
            [int(option[0]) for option in most.options],
            batch_tokens=config.batch_tokens,
        )
        return [int(logits[place, : len(one.options)].argmax()) for place, one in enumerate(asked)]
    rows = [(place, option) for place, one in enumerate(asked) for option in one.options]
    nats = answers(
        model,
        [asked[place].ids for place, _ in rows],
        [option for _, option in rows],
        batch_tokens=config.batch_tokens,
    ).tolist()
    places = np.asarray([place for place, _ in rows])
    return [int(np.argmax(np.asarray(nats)[places == place])) for place in range(len(asked))]
