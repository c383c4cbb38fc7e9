"""The fast way scores what one full prompt a question scores."""

import functools

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from anima_exp.errors import ModelError
from anima_exp.evals.multiple_choice import likelihood
from anima_exp.evals.multiple_choice.likelihood import choice_logits, option_logprobs, shared_prefix

SHAPE = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()


@pytest.fixture(scope="module")
def rows():
    """Sixty tokens in common, then between one and forty of their own."""
    rng = np.random.default_rng(0)
    common = rng.integers(3, 300, 60)
    return [np.concatenate([common, rng.integers(3, 300, n)]) for n in rng.integers(1, 40, 25)]


def plain(model, row):
    """Log probabilities float32 [T, V] after each token of one row alone."""
    with torch.no_grad():
        logits = model(input_ids=torch.as_tensor(row[None], dtype=torch.long)).logits[0]
    return logits.float()


@pytest.mark.parametrize("batch_tokens", [1, 400, 100_000])
def test_letters_have_the_logits_of_a_full_prompt(model, rows, batch_tokens):
    with torch.no_grad():
        found = choice_logits(model, rows, [5, 7, 11, 13], batch_tokens=batch_tokens)
    expected = torch.stack([plain(model, row)[-1, [5, 7, 11, 13]] for row in rows])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_answers_have_the_likelihood_of_a_full_text(model, rows):
    rng = np.random.default_rng(1)
    options = [rng.integers(3, 300, n) for n in rng.integers(1, 9, len(rows))]
    with torch.no_grad():
        found = option_logprobs(model, rows, options, batch_tokens=500)
    for row, option, nats in zip(rows, options, found.tolist(), strict=True):
        likely = plain(model, np.concatenate([row, option])).log_softmax(-1)
        expected = sum(float(likely[len(row) - 1 + k, token]) for k, token in enumerate(option))
        assert nats == pytest.approx(expected, abs=1e-3)


def test_the_beginning_is_read_once(model, rows, monkeypatch):
    read = []
    forward = model.forward

    @functools.wraps(forward)  # its parameters say what the cache is called
    def counted(*args, **kwargs):
        read.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counted)
    with torch.no_grad():
        choice_logits(model, rows, [5, 7], batch_tokens=100_000)
    own = sum(len(row) - 60 for row in rows)
    assert read[0] == 60
    assert own <= sum(read[1:]) < 1.4 * own, "padding included"


def test_a_model_that_forgets_is_read_whole(rows):
    """Mistral's sliding window keeps the last tokens only: its cache cannot be shared."""
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=16)).eval()
    with torch.no_grad():
        found = choice_logits(model, rows, [5, 7], batch_tokens=2000)
    expected = torch.stack([plain(model, row)[-1, [5, 7]] for row in rows])
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_a_row_that_is_the_beginning_of_all_keeps_its_last_token():
    rows = [np.arange(20), np.arange(12), np.arange(30)]
    assert shared_prefix(rows) == 11
    assert shared_prefix(rows, keep=4) == 8
    assert shared_prefix([np.arange(3), np.arange(9)], keep=5) == 0


def test_a_broken_model_is_told_and_not_scored(rows):
    broken = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
        with pytest.raises(ModelError, match="output is NaN"):
            choice_logits(broken, rows, [5, 7], batch_tokens=2000)


def test_a_batch_holds_as_many_tokens_as_it_may():
    assert list(likelihood._batches([10, 40, 20, 30], 0, 80)) == [[1, 3], [2, 0]]
    assert list(likelihood._batches([10, 40, 20, 30], 60, 200)) == [[1, 3], [2, 0]]
    assert list(likelihood._batches([10, 40, 20, 30], 0, 1)) == [[1], [3], [2], [0]]


def test_much_shorter_rows_wait_for_a_batch_of_their_own():
    lengths = [300, 290, 280, 100, 90]
    assert list(likelihood._batches(lengths, 700, 100_000)) == [[0, 1, 2], [3, 4]]
    few = [100, 90, 30]  # too few to keep a GPU busy: one batch
    assert list(likelihood._batches(few, 700, 100_000)) == [[0, 1, 2]]
