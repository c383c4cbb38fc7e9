"""A model as it stands -> every score that the run's `evals` ask for."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from anima_exp.config import RunConfig
from anima_exp.errors import TrainingError
from anima_exp.evals.exact_match import exact_match
from anima_exp.evals.heldout import heldout_loss
from anima_exp.evals.samples import samples
from anima_exp.model.generate import inference


@dataclass(frozen=True)
class Measured:
    scores: dict[str, float] = field(default_factory=dict)
    generations: list[tuple[str, str]] = field(default_factory=list)  # (question, answer)
    seconds: float = 0.0


def measure(model: Any, tokenizer: Any, heldout: Any, config: RunConfig) -> Measured:
    """Run the evals that are on; `heldout` holds the rows set aside.

    Raises:
        TrainingError: a score is not finite.
    """
    evals, scores, generations = config.evals, {}, []
    started = time.perf_counter()
    with inference(model, config.trainer.precision):
        if evals.heldout and len(heldout):
            scores["heldout_loss"] = heldout_loss(model, tokenizer, heldout, evals.heldout)
        if evals.exact_match and config.data.exact_answers and len(heldout):
            scores["exact_match"] = exact_match(model, tokenizer, heldout, evals.exact_match)
        if evals.samples and evals.samples.prompts:
            generations = samples(
                model, tokenizer, evals.samples, template=config.data.prompt_template
            )
    for name, score in scores.items():
        if not math.isfinite(score):
            raise TrainingError(
                f"The {name} is {score}: the run has diverged. Lower optimizer.learning_rate."
            )
    return Measured(scores, generations, time.perf_counter() - started)
