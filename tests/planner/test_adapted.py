"""Which layers get an adapter, and with which rank, without torch."""

import subprocess
import sys

import pytest

from anima_exp.errors import ModelError
from anima_exp.experiment.preflight import check_inputs
from anima_exp.planner.adapted import adapted_layers
from anima_exp.planner.find_shape import find_shape


def layers(config):
    found = adapted_layers(find_shape(config.model), config.lora)
    return {(one.layer.leaf, one.rank): one.blocks for one in found}


def test_a_pattern_gives_some_blocks_another_rank(compose):
    config = compose(
        "model=llama7b", "lora=key_query", "lora.rank=8",
        "lora.rank_pattern=['.*layers.[0-3].self_attn.q_proj:2']",
    )  # fmt: skip
    assert layers(config) == {("q_proj", 2): 4, ("q_proj", 8): 28, ("k_proj", 8): 32}


def test_modules_may_name_layers_by_number(compose):
    config = compose(
        "model=llama7b", "lora.target_modules=named", "lora.modules=['.*layers.(30|31).*']"
    )
    assert set(layers(config).values()) == {2} and len(layers(config)) == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["lora.target_modules=named", "lora.modules=[q_prj]"],
            "lora.modules: q_prj matches no la",
        ),
        (["lora.rank_pattern=[lm_head:3]"], "lora.rank_pattern: lm_head matches no layer with an"),
        (["lora=ffn", "lora.alpha_pattern=[q_proj:3]"], "lora.alpha_pattern: q_proj matches no la"),
    ],
)
def test_what_matches_nothing_is_known_before_the_model_is_loaded(compose, given, said):
    with pytest.raises(ModelError, match=f"^{said}"):
        check_inputs(compose(*given))


def test_the_check_needs_no_torch():
    code = "import sys, anima_exp.planner.adapted; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
