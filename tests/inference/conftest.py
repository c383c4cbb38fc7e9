"""The embedded base, loaded once, and how it is asked."""

import pytest

from anima_exp.config import AnsweringConfig, Precision


@pytest.fixture(scope="session")
def tiny(compose):
    """(model, tokenizer) of the bare base, not quantized."""
    from anima_exp.model.base import load_base
    from anima_exp.model.tokenizer import load_tokenizer

    config = compose("quant=none")
    model = load_base(config.model, config.quant, precision=config.trainer.precision)
    return model.eval(), load_tokenizer(config.model)


@pytest.fixture
def asked():
    """asked(temperature=0) -> who is asked, and how: in Guanaco's format, briefly."""
    from anima_exp.inference.answers import GenerationRequest

    def _asked(template="guanaco", **settings):
        config = AnsweringConfig(**({"max_new_tokens": 24} | settings))
        return GenerationRequest(config, template, "tiny", {"model": "tiny"}, Precision.fp32)

    return _asked


@pytest.fixture
def prompts(tiny):
    """Prompts of different lengths, as token ids."""
    from anima_exp.data.prompts import prompt
    from anima_exp.tiny.world import sample_rows

    rows = sample_rows(16, language="en", seed=5, part="test")
    found = [prompt("guanaco", tiny[1], row["instruction"]).ids for row in rows]
    assert len({len(ids) for ids in found}) > 5
    return found
