"""What a run will need on its device, in GiB, estimated before the first step."""

from dataclasses import dataclass
from typing import Any

from anima_exp.config import OptimizerName, Precision, Recompute, RunConfig, TargetModules
from anima_exp.model.parameters import Parameters

GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """Estimated GiB; activations are those of one micro-batch at the longest row."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate(model: Any, parameters: Parameters, config: RunConfig, *, longest: int) -> Memory:
    """Weights as they lie in memory; gradients in the trained weights' type; two Adam moments.

    Activations: with checkpointing one hidden state per layer plus one layer's inside, without it
    every layer's inside; plus the logits and their gradient in fp32, which for large vocabularies
    are the largest part. `longest` is the longest row in tokens.
    """
    text = model.config.get_text_config()
    tokens = config.trainer.token_budget or config.trainer.batch_size * longest
    width = 4 if config.trainer.precision is Precision.fp32 else 2
    feed_forward = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    # Inside one layer about 10 hidden-sized and 4 feed-forward-sized tensors are kept.
    inside = tokens * width * (10 * text.hidden_size + 4 * feed_forward)
    boundary = tokens * width * text.hidden_size
    layers = text.num_hidden_layers
    kept = (
        layers * boundary + inside
        if config.trainer.recompute is Recompute.full
        else layers * inside
    )
    logits = tokens * text.vocab_size * (4 + 4 + width)
    state = 2 if config.optimizer.name is OptimizerName.paged_adamw_8bit else 8
    adapter = config.lora.target_modules is not TargetModules.none
    trained = 2 if adapter and config.lora.dtype is not Precision.fp32 else 4
    return Memory(
        weights=parameters.bytes / GIB,
        gradients=parameters.trainable * trained / GIB,
        optimizer=parameters.trainable * state / GIB,
        activations=(kept + logits) / GIB,
    )
