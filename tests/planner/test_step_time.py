"""What a step is expected to take: products, bytes beside them, and kernels to launch."""

from dataclasses import replace

import pytest

from anima_exp.config import ActivationCheckpointing
from anima_exp.planner.find_shape import find_shape
from anima_exp.planner.gpus import DEFAULT_GPU, GPU_TYPES, gpu_named
from anima_exp.planner.step_time import LAUNCH_SECONDS, Work, step_time

H200 = next(gpu_type for gpu_type in GPU_TYPES if gpu_type.name == "H200")
LONG = Work(tokens=16 * 512, row_tokens=512, label_share=0.4)
SHORT = Work(tokens=2023, row_tokens=2023 / 16, label_share=0.4)  # 16 rows of Alpaca


@pytest.fixture(scope="module")
def timed(compose):
    """timed(work, *overrides, **how) -> StepTime of 7B in one pass that keeps everything."""

    def _timed(work, *overrides, gpu_type=H200, **how):
        config = compose(
            "model=llama7b", "trainer.precision=bf16", "lora.rank=64", "lora.dropout=0.1",
            *overrides,
        )  # fmt: skip
        usual = {
            "token_budget": 10**6,
            "recompute": ActivationCheckpointing.none,
            "keep_dequantized": True,
        }
        return step_time(find_shape(config.model), config, work, gpu_type, **(usual | how))

    return _timed


@pytest.mark.parametrize(("work", "expected"), [(LONG, 19_000), (SHORT, 14_000)])
def test_7b_on_an_h200_is_as_fast_as_counting_by_hand_gives(timed, work, expected):
    assert work.tokens / timed(work).total == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize(("model", "counted"), [("llama7b", 3_273), ("llama33b", 6_116)])
def test_a_pass_launches_as_many_kernels_as_were_counted(timed, model, counted):
    launches = timed(SHORT, f"model={model}").host / LAUNCH_SECONDS
    assert launches == pytest.approx(counted, rel=0.02)


def test_dequantizing_for_each_pass_moves_33_gb_and_launches_1300_kernels(timed):
    copy, none = timed(LONG), timed(LONG, keep_dequantized=False)
    assert none.device - copy.device == pytest.approx(H200.moving(33e9), rel=0.05)
    assert (none.host - copy.host) / LAUNCH_SECONDS == pytest.approx(1313, rel=0.05)


def test_the_processor_and_the_card_work_at_the_same_time(timed):
    many = timed(SHORT, token_budget=200)
    assert many.by_launches
    assert many.host == pytest.approx(11 * timed(SHORT).host)
    assert many.total == many.host + many.end
    assert not timed(LONG).by_launches
    assert timed(LONG).total == timed(LONG).device + timed(LONG).end


def test_a_share_of_the_peak_grows_with_the_batch_and_never_passes_what_products_reach(timed):
    speeds = [
        work.tokens / timed(work).total
        for tokens in (128, 512, 2048, 8192, 32768)
        for work in [replace(LONG, tokens=tokens)]
    ]
    assert speeds == sorted(speeds)
    assert speeds[0] < 0.2 * speeds[-1]


def test_recomputing_costs_the_card_or_the_processor(timed):
    none, selective, full = (timed(LONG, recompute=how) for how in ActivationCheckpointing)
    assert full.device > 1.3 * none.device
    assert none.device < selective.device < 1.1 * none.device
    assert selective.host == pytest.approx(1.7 * none.host)


def test_states_in_cpu_memory_cost_a_wait_a_tensor_and_their_bytes(timed):
    away = timed(LONG, paged=True).end - timed(LONG).end
    states = 2 * 4 * 159_907_840  # two moments in fp32
    assert away == pytest.approx(448 * 90e-6 + DEFAULT_GPU.paging(2 * states), rel=0.05)


def test_a_card_is_found_by_the_name_that_cuda_gives_it():
    assert gpu_named("NVIDIA A100-SXM4-80GB").name == "A100"
    assert gpu_named("NVIDIA GeForce RTX 4090").name == "RTX 4090"
    assert gpu_named("NVIDIA H200") is H200
    assert gpu_named("NVIDIA L4") is None
