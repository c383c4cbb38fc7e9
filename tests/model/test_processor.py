"""A 4-bit base gives the same numbers on every processor, whatever bitsandbytes finds there."""

import pytest
import torch
from bitsandbytes.nn import modules

from anima_exp.config import Attention, ModelConfig, Precision, QuantConfig, Quantization
from anima_exp.errors import ModelError
from anima_exp.model import base, base_config
from anima_exp.model.generation import inference_mode

IDS = torch.tensor([[1, 17, 30, 8]])


@pytest.fixture
def logits(monkeypatch):
    """logits(fast, precision) -> those of the tiny base where bitsandbytes has the fast kernel.

    It repacks the weights, computes in bf16 and has no gradient. A processor without AVX512-BF16
    cannot run it at all, so that no test may get there.
    """

    def refuse(*_):
        raise AssertionError("the weights are repacked")

    monkeypatch.setattr(modules, "_convert_weight_packed_for_cpu", refuse)

    def _logits(fast, precision=Precision.fp32):
        monkeypatch.setattr(modules, "has_avx512bf16", lambda: fast)
        model = base.load_base(
            ModelConfig(name="tiny", source="tiny"),
            QuantConfig(type=Quantization.nf4, compute_dtype=precision, cache_quantized=False),
            precision=precision,
        )
        with inference_mode(model, precision):
            one_token = model(input_ids=IDS[:, :1]).logits
            return torch.cat([one_token, model(input_ids=IDS).logits], dim=1)

    return _logits


@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16])
def test_logits_do_not_depend_on_the_kernel_that_a_processor_has(logits, precision):
    assert torch.equal(logits(True, precision), logits(False, precision))


def test_the_check_would_notice_the_other_kernel(logits, monkeypatch):
    monkeypatch.setattr(base, "keep_cpu_4bit_trainable", lambda model: None)
    with pytest.raises(ModelError, match="repacked"):
        logits(True)


def test_flash_attention_without_its_package_is_refused_and_nothing_is_fetched(monkeypatch):
    monkeypatch.setattr(base_config, "find_spec", lambda name: None)
    with pytest.raises(ModelError) as error:
        base_config.attention_of(None, Attention.flash_attention_2)
    assert str(error.value) == (
        "model.attention=flash_attention_2 needs the package flash-attn, which is not installed. "
        "Install it, or use model.attention=sdpa."
    )
