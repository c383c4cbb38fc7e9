"""Blocks are divided over the cards of one process so that each has room."""

import pytest

from anima_exp.config import ActivationCheckpointing
from anima_exp.planner.execution import Placement, choose_execution, needed
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.memory import GIB, MemoryModel, Rows
from anima_exp.planner.placement import Parts, SeveralGpus, choose_spread, divide

ROWS = Rows(longest=1024, batch_tokens=16_384, batch_labels=8192)


@pytest.fixture(scope="module")
def spread(compose):
    def _spread(*overrides, gib):
        config = compose(*overrides)
        shape = find_shape(config.model)
        return choose_spread(shape, config, ROWS, available=[one * GIB for one in gib])

    return _spread


@pytest.mark.parametrize("how", list(ActivationCheckpointing))
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("model", ["model=llama7b", "model=qwen3_0_6b", "model=tiny"])
@pytest.mark.parametrize("lora", ["lora=all_linear", "lora=full_finetune"])
def test_on_one_card_it_is_what_one_card_needs(compose, model, lora, how, keep):
    config = compose(model, lora, *["quant=none"] * (lora == "lora=full_finetune"))
    needs = MemoryModel(find_shape(config.model), config, ROWS)
    one = SeveralGpus(needs, (500 * GIB,)).division(2048, how, keep, paged=False)
    found = needs.memory(2048, how, keep_dequantized=keep)
    assert one.taken == [pytest.approx(needed(found, needs.unused))]


def test_alike_cards_get_as_many_blocks_each():
    parts = Parts(first=0, blocks=[10 * GIB] * 8, last=0, everywhere=GIB)
    found = divide(parts, [50 * GIB] * 4)
    assert found.gpu_of_block == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.taken == [21 * GIB] * 4
    assert found.free == pytest.approx(29 * GIB, abs=2**21)


def test_the_embeddings_and_the_head_take_room_from_blocks():
    parts = Parts(first=10 * GIB, blocks=[10 * GIB] * 6, last=20 * GIB, everywhere=0)
    assert divide(parts, [100 * GIB] * 3).gpu_of_block == [0, 0, 1, 1, 1, 2]


def test_a_smaller_card_gets_less():
    parts = Parts(first=0, blocks=[GIB] * 20, last=0, everywhere=0)
    assert divide(parts, [8 * GIB, 16 * GIB]).gpu_of_block == [0] * 6 + [1] * 14


def test_a_card_without_room_gets_nothing():
    parts = Parts(first=0, blocks=[GIB] * 4, last=0, everywhere=0)
    found = divide(parts, [20 * GIB, GIB, 20 * GIB])
    assert sorted(set(found.gpu_of_block)) == [0, 2]
    assert found.taken[1] == 0


def test_what_does_not_fit_has_less_than_no_room():
    parts = Parts(first=0, blocks=[GIB] * 20, last=0, everywhere=0)
    found = divide(parts, [8 * GIB, 8 * GIB])
    assert found.free == pytest.approx(-2 * GIB, abs=2**21)
    assert found.gpu_of_block == [0] * 10 + [1] * 10


def test_65b_trains_on_three_cards_of_24_gb_where_one_is_too_small(spread, compose):
    config = compose("model=llama65b")
    assert not choose_execution(find_shape(config.model), config, ROWS, available=22 * GIB).fits
    found = spread("model=llama65b", gib=[22, 22, 22])
    assert (found.fits, found.placement, found.num_gpus) == (True, Placement.spread, 3)
    assert found.predicted_peak_gib <= 22
    assert not spread("model=llama65b", gib=[22]).fits


def test_more_cards_never_need_more_of_one(spread):
    peaks = [
        spread("model=llama65b", "trainer.max_tokens_per_micro_batch=2048",
               "trainer.activation_checkpointing=full",
               "quant.cache_dequantized=false", gib=[80] * n).predicted_peak_gib
        for n in (1, 2, 4, 8)
    ]  # fmt: skip
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[3] < peaks[0] / 4
