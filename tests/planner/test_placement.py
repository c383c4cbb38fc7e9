"""Where the base will be is known before it is loaded: whole, sharded, or spread."""

import json

import pytest

from anima_exp.errors import ConfigError, ModelError
from anima_exp.experiment.overview import describe_placement
from anima_exp.planner.execution import Placement, choose_execution
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.memory import GIB, Rows
from anima_exp.planner.placement import place_base

ROWS = Rows(longest=528, batch_tokens=16 * 528, batch_labels=16 * 512)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder with the config.json of a LLaMA of 65 B parameters, and no weights."""
    folder = tmp_path_factory.mktemp("large")
    shape = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8192,
        "intermediate_size": 22016, "num_hidden_layers": 80, "num_attention_heads": 64,
        "vocab_size": 32000, "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(shape))
    return folder


@pytest.fixture
def placed(compose, large):
    def _placed(*overrides, gib, **how):
        config = compose("model=llama65b", f"model.source={large}", *overrides)
        every = [one * GIB for one in gib]
        gpus = (lambda: every) if len(every) > 1 else None
        return place_base(config, ROWS, available=every[0], gpus=gpus, **how)

    return _placed


def test_one_process_on_one_card_has_it_whole_whether_it_fits_or_not(placed):
    for gib in (23, 80):
        found = placed(gib=[gib])
        assert found.device_map is None
        assert found.execution.placement is Placement.whole
        assert found.execution.fits == (gib == 80)


def test_one_process_that_sees_several_cards_uses_one_where_that_holds_it(placed):
    assert placed(gib=[80, 80]).device_map is None


def test_other_cards_are_left_alone_where_they_are_not_needed(compose, large):
    config = compose("model=llama65b", f"model.source={large}")

    def gpus():
        raise AssertionError("asking takes memory on each")

    found = place_base(config, ROWS, available=80 * GIB, gpus=gpus)
    assert found.device_map is None


def test_one_process_spreads_what_one_card_does_not_hold(placed):
    found = placed(gib=[23, 23])
    assert found.execution.placement is Placement.spread
    assert (found.execution.fits, found.execution.num_gpus) == (True, 2)
    blocks = [gpu_type for name, gpu_type in found.device_map.items() if ".layers." in name]
    assert blocks == sorted(blocks)
    assert abs(blocks.count(0) - blocks.count(1)) <= 4
    assert found.device_map["model.embed_tokens"] == 0
    assert found.device_map["lm_head"] == found.device_map["model.norm"] == 1


def test_device_map_auto_spreads_whether_it_is_needed_or_not(placed):
    found = placed("model.device_map=auto", gib=[80, 80, 80, 80])
    assert set(found.device_map.values()) == {0, 1, 2, 3}


def test_a_card_with_less_room_gets_fewer_blocks(placed):
    found = placed("model.device_map=auto", gib=[20, 40])
    blocks = [gpu_type for name, gpu_type in found.device_map.items() if ".layers." in name]
    assert blocks.count(0) < blocks.count(1) / 1.5


def test_no_card_takes_more_than_it_is_allowed(placed):
    given = ("model.device_map=auto", "model.max_memory_gib=30")
    found = placed(*given, gib=[80, 80])
    assert found.execution.predicted_peak_gib <= 30
    with pytest.raises(ModelError) as error:
        placed("model.device_map=auto", "model.max_memory_gib=15", gib=[80, 80])
    message = str(error.value)
    assert "model.device_map=auto: spread over 2 GPUs, llama65b needs" in message
    assert "they have 15.0, 15.0 GiB (model.max_memory_gib=15)" in message


def test_what_fits_no_division_says_so_with_numbers(placed):
    with pytest.raises(ModelError, match="No single GPU holds this run: spread over 2 GPUs"):
        placed(gib=[12, 12])


def test_any_other_device_map_is_accelerates_own(placed):
    assert placed("model.device_map=balanced", gib=[23, 23]).device_map is None


def test_several_processes_shard_only_where_a_copy_on_each_does_not_fit(placed):
    small, large = placed(gib=[23], processes=4), placed(gib=[78], processes=4)
    assert (small.execution.sharded, small.execution.fits, small.execution.num_gpus) == (
        True,
        True,
        4,
    )
    assert not large.execution.sharded
    assert small.device_map is large.device_map is None


def test_trainer_shard_base_decides_where_it_is_given(placed):
    assert placed("trainer.fsdp=true", gib=[78], processes=2).execution.sharded
    without = placed("trainer.fsdp=false", gib=[23], processes=4).execution
    assert (without.sharded, without.fits) == (False, False)


def test_what_fits_neither_way_stays_whole_and_does_not_fit(placed):
    found = placed(gib=[8], processes=2).execution
    assert (found.sharded, found.fits) == (False, False)


def test_one_process_never_shards(placed):
    assert not placed("trainer.fsdp=true", gib=[78]).execution.sharded


def test_a_sharded_base_needs_less_of_each_card_the_more_there_are(compose):
    config = compose(
        "model=llama65b",
        "trainer.max_tokens_per_micro_batch=528",
        "trainer.activation_checkpointing=full",
    )
    shape, how = find_shape(config.model), {"available": 80 * GIB, "shard": True}
    peaks = [
        choose_execution(shape, config, ROWS, shares=n, **how).predicted_peak_gib for n in (2, 4, 8)
    ]
    assert peaks == sorted(peaks, reverse=True)
    split = shape.linear_weights / 2 / GIB  # the quantization constants stay in every process
    assert peaks[0] - peaks[1] == pytest.approx(split / 4, rel=0.01)
    assert peaks[1] - peaks[2] == pytest.approx(split / 8, rel=0.01)


def test_an_explicit_choice_outweighs_the_setting(compose):
    config = compose("model=llama65b", "trainer.fsdp=true")
    shape = find_shape(config.model)
    found = choose_execution(shape, config, ROWS, available=80 * GIB, shares=2, shard=False)
    assert not found.sharded


def test_no_copy_is_kept_of_a_sharded_base(compose):
    config = compose("model=llama7b", "trainer.fsdp=true")
    found = choose_execution(find_shape(config.model), config, ROWS, available=500 * GIB, shares=2)
    assert found.sharded
    assert not found.keep_dequantized


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("quant.cache_dequantized=true", "trainer.fsdp=true"), "keeps a copy of all of it"),
        (
            ("lora=full_finetune", "quant=none", "trainer.fsdp=true"),
            "lora=full_finetune trains every weight",
        ),
        (("model.device_map=auto", "trainer.num_gpus=2"), "starts one on each"),
        (("trainer.num_gpus=0",), "trainer.num_gpus=0 must be greater than 0"),
        (("launcher.gpus_per_job=0",), "launcher.gpus_per_job=0 must be greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(compose, given, message):
    with pytest.raises(ConfigError, match=message):
        compose("model=llama7b", *given)


@pytest.mark.parametrize(("processes", "tokens"), [(1, 1600), (2, 800), (3, 600), (16, 100)])
def test_the_largest_share_of_a_batch_has_its_rows_rounded_up(processes, tokens):
    share = Rows(longest=100, batch_tokens=1600, batch_labels=800).share(16, processes)
    assert (share.batch_tokens, share.batch_labels) == (tokens, tokens / 2)


def test_a_base_that_is_spread_unasked_is_announced(placed, compose):
    asked, unasked = ("model.device_map=auto",), ()
    told = [
        describe_placement(
            compose("model=llama65b", *given), placed(*given, gib=[23, 23]).execution
        )
        for given in (asked, unasked)
    ]
    assert told == [
        ["the base spread over 2 GPUs; one computes at a time"],
        ["the base spread over 2 GPUs, because no single one can hold it; one computes at a time"],
    ]
    assert describe_placement(compose(), placed(gib=[80]).execution) == []
