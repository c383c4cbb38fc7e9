"""An answer depends on its prompt and its seed alone: not on the batch, and on no other code."""

import random
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anima_exp.config import Precision
from anima_exp.errors import ModelError
from anima_exp.model.decoding import Sampling, decode, left_padded, sample_next_tokens
from anima_exp.model.generation import inference_mode

LIVELY = Sampling(24, temperature=1.5, top_p=0.95)


def answers(tiny, prompts, how, *, at_once, seeds=None):
    found = []
    seeds = seeds or [0] * len(prompts)
    with inference_mode(tiny[0], Precision.fp32):
        for start in range(0, len(prompts), at_once):
            part = slice(start, start + at_once)
            found += decode(*tiny, prompts[part], how, seeds=seeds[part])
    return found


def test_greedy_is_what_transformers_generates(tiny, prompts):
    from transformers import GenerationConfig

    model, tokenizer = tiny
    ids, mask = left_padded(prompts, tokenizer.pad_token_id)
    how = GenerationConfig(
        max_new_tokens=24, do_sample=False, use_cache=True, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with inference_mode(model, Precision.fp32):
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=how)
    theirs = [tokenizer.decode(row, skip_special_tokens=True) for row in out[:, ids.shape[1] :]]
    ours = answers(tiny, prompts, Sampling(24), at_once=len(prompts))
    assert [answer.text for answer in ours] == theirs
    assert len(set(theirs)) > 5


def test_greedy_in_a_batch_is_greedy_one_by_one(tiny, prompts):
    alone = answers(tiny, prompts, Sampling(24), at_once=1)
    assert answers(tiny, prompts, Sampling(24), at_once=16) == alone
    assert answers(tiny, prompts, Sampling(24), at_once=5) == alone


def test_a_draw_is_the_same_in_any_batch_and_in_any_order(tiny, prompts):
    seeds = list(range(100, 116))
    alone = answers(tiny, prompts, LIVELY, at_once=1, seeds=seeds)
    assert answers(tiny, prompts, LIVELY, at_once=8, seeds=seeds) == alone
    turned = answers(tiny, prompts[::-1], LIVELY, at_once=8, seeds=seeds[::-1])
    assert turned[::-1] == alone
    assert alone != answers(tiny, prompts, Sampling(24), at_once=8)


def test_almost_equal_shares_are_drawn_alike_in_any_batch(tiny, prompts):
    """Where 1,024 tokens are as good as another, their order by share is one of rounding."""
    how, seeds = Sampling(100, temperature=5.0), list(range(16))
    alone = answers(tiny, prompts, how, at_once=1, seeds=seeds)
    assert sum(answer.tokens for answer in alone) > 300
    assert answers(tiny, prompts, how, at_once=16, seeds=seeds) == alone


def test_another_seed_is_another_draw(tiny, prompts):
    one, other = (answers(tiny, prompts, LIVELY, at_once=8, seeds=[seed] * 16) for seed in (1, 2))
    assert one != other
    assert one == answers(tiny, prompts, LIVELY, at_once=8, seeds=[1] * 16)


def test_rows_that_end_early_leave_the_others_as_they_were(tiny, prompts):
    """Half the rows end: the cache is cut down to those that go on."""
    found = answers(tiny, prompts, Sampling(24), at_once=16)
    lengths = sorted(answer.tokens for answer in found)
    assert lengths[8] < lengths[-1]


def test_an_answer_ends_before_its_stop_string(tiny, prompts):
    whole = answers(tiny, prompts, LIVELY, at_once=8, seeds=list(range(16)))
    stop = next(answer.text[2:5] for answer in whole if len(answer.text) > 8)
    how = Sampling(24, temperature=1.5, top_p=0.95, stop=(stop, "never said"))
    cut = answers(tiny, prompts, how, at_once=8, seeds=list(range(16)))
    assert any(answer.finish == "stop_string" for answer in cut)
    for before, after in zip(whole, cut, strict=True):
        assert after.text == before.text.partition(stop)[0]
        assert (after.finish == "stop_string") == (stop in before.text)


def test_an_answer_that_is_cut_says_so(tiny, prompts):
    how = Sampling(1)
    found = answers(tiny, prompts, how, at_once=8)
    assert {answer.finish for answer in found} == {"length"}
    assert {answer.tokens for answer in found} == {1}
    assert {answer.finish for answer in answers(tiny, prompts[:2], Sampling(24), at_once=2)} == {
        "stop"
    }


def test_the_context_of_the_model_ends_an_answer(tiny, prompts):
    most = tiny[0].config.max_position_embeddings
    long = (prompts[0] * most)[: most - 3]
    how = Sampling(100, temperature=100.0)
    [answer] = answers(tiny, [long], how, at_once=1)
    assert (answer.finish, answer.tokens) == ("length", 3)
    with pytest.raises(ModelError, match=f"A prompt of {most} tokens leaves no space"):
        answers(tiny, [(prompts[0] * most)[:most]], how, at_once=1)


def draws(logits, how, count=4000):
    dice = [random.Random(number) for number in range(count)]
    return Counter(sample_next_tokens(torch.tensor([logits] * count), how, dice))


def test_top_p_keeps_the_fewest_tokens_that_make_up_the_share():
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().tolist()
    assert set(draws(logits, Sampling(1, 1.0, 0.5))) == {1}
    assert set(draws(logits, Sampling(1, 1.0, 0.51))) == {1, 3}
    assert set(draws(logits, Sampling(1, 1.0, 0.85))) == {1, 3, 2}
    assert set(draws(logits, Sampling(1, 1.0, 1.0))) == {0, 1, 2, 3}


def test_tokens_are_drawn_as_often_as_their_share_of_what_is_kept():
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().tolist()
    found = draws(logits, Sampling(1, 1.0, 0.75), count=20_000)
    assert found[1] / 20_000 == pytest.approx(2 / 3, abs=0.015)
    hot = draws(logits, Sampling(1, 0.5, 1.0), count=20_000)  # shares are squared
    assert hot[1] / 20_000 == pytest.approx(0.25 / 0.345, abs=0.015)


@pytest.mark.parametrize("how", [Sampling(1), LIVELY])
def test_a_gpu_is_waited_for_once_a_token_however_many_rows(how):
    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            self.count += operation is torch.ops.aten._local_scalar_dense.default
            return operation(*args, **(kwargs or {}))

    with Reads() as reads:
        found = sample_next_tokens(torch.eye(4) * 99, how, [random.Random(0)] * 4)
    assert found == [0, 1, 2, 3]
    assert reads.count == 0  # numbers read one by one; what is left is one list


def test_broken_weights_are_told():
    with pytest.raises(ModelError, match="computes NaN"):
        sample_next_tokens(torch.tensor([[0.0, float("nan")]]), Sampling(1), [random.Random(0)])


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("lfm2", {"layer_types": ["conv", "full_attention"]}),  # a part of its cache drops no row
        ("mamba2", {}),  # it has no such cache
        ("rwkv", {}),  # nor a mask
    ],
)
def test_families_with_other_caches_answer_in_a_batch_as_alone(tiny, family, settings):
    from support.small_models import small

    model = small(family, vocab_size=1024, **settings).eval()
    prompts = [[1, *range(start, start + count)] for start, count in ((5, 120), (9, 7), (40, 118))]
    with inference_mode(model, Precision.fp32):
        alone = [decode(model, tiny[1], [one], Sampling(12))[0] for one in prompts]
        assert decode(model, tiny[1], prompts, Sampling(12)) == alone
    assert all(answer.tokens for answer in alone)
