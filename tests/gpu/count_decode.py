"""Count what the decoding of one token asks of a GPU, by batch."""

from count_models import random_base
from random_training import composed

import anima_exp.model.lora_linear
from anima_exp.config import Precision
from anima_exp.model.adapter import add_lora
from anima_exp.model.base import DTYPES, device
from anima_exp.model.decoding import Sampling, decode
from anima_exp.model.generation import inference_mode

FEW, MANY = 4, 12  # tokens of two answers, whose difference is counted
WAYS = {
    "1 answer, greedy": (1, 0.0),
    "16 answers, greedy": (16, 0.0),
    "16 answers, sampled": (16, 0.7),
}


class _NoTokenizer:
    """Every logit is 0, so that the text means nothing; no token ends it."""

    pad_token_id, eos_token_id = 0, None

    def decode(self, ids, **_):
        return ""


def count_decode(name, counter):
    """Return the counts of one token of model `name` with an adapter, by way of decoding."""
    config = composed(["trainer.precision=bf16"])
    base = random_base(name, device=device(), dtype=DTYPES[Precision.bf16])
    model = add_lora(base, config.lora)
    anima_exp.model.lora_linear.install(model)
    found = {}
    with inference_mode(model, Precision.bf16):
        for way, (batch, temperature) in WAYS.items():

            def answer(tokens, batch=batch, temperature=temperature):
                how = Sampling(tokens, temperature, 0.9)
                prompts = [[5] * 50] * batch
                counter.take()
                decode(model, _NoTokenizer(), prompts, how, seeds=list(range(batch)))
                return counter.take()

            answer(2)  # what is done once: kernels compiled, caches filled
            few, many = answer(FEW), answer(MANY)
            found[way] = {
                count: (many[count] - few[count]) / (MANY - FEW)
                for count in ("launches", "waits", "h2d", "d2h")
            }
    return found
