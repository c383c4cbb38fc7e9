"""The fast way to compose a cell gives what Hydra gives, and its errors."""

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from anima_exp.errors import ConfigError
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point
from anima_exp.system.paths import shipped


@pytest.fixture(scope="module")
def composer():
    with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("train", [], RunMode.MULTIRUN)
    return Composer(loader, master)


SAME = [
    ("seed=3",),
    ("lora.rank=8", "lora.dropout=0.1", "optimizer.learning_rate=3e-4"),
    ("model=llama7b", "data=oasst1", "lora=attention", "quant=fp4"),
    ("experiment=table9/33b_oasst1", "lora.rank=8"),
    ("experiment=guanaco_7b", "model=tiny", "data=sample"),
    ("trainer.num_epochs=2", "data.max_train_rows=100"),
    ("trainer.max_steps=null", "trainer.num_epochs=2"),
    ("data.recommended.max_steps=77",),
    ("data.recommended.eval_every=11",),
    ("model.recommended.learning_rate=1e-5",),
    ("model.recommended.batch_size=8",),
    ("evals=[heldout]", "evals.heldout.max_rows=5"),
    ("evals=[]", "data.heldout_rows=0"),
    ("evals.exact_match=null",),
    ("data.sample_prompts=[a,b]",),
    ("tracking=none", "tracking.tags=[x]"),
    ("rehearsal_scale=0.1", "trainer.max_steps=100"),
    ("sweep=demo", "lora.rank=2"),
]


@pytest.mark.parametrize("overrides", SAME, ids=" ".join)
def test_a_cell_is_what_hydra_composes(composer, compose, overrides):
    assert composer.compose(Point(overrides)) == (overrides, compose(*overrides))


def test_cells_of_one_base_do_not_see_each_other(composer, compose):
    for overrides in (
        ("data.recommended.max_steps=5", "seed=1"),
        ("data.recommended.max_steps=9", "seed=2"),
    ):
        assert composer.compose(Point(overrides))[1] == compose(*overrides)
    assert composer.compose(Point(("seed=2",)))[1] == compose("seed=2")


def test_factors_multiply_the_cells_own_value(composer):
    point = Point(
        ("experiment=table9/33b_oasst1",),
        (("optimizer.learning_rate", 0.5), ("trainer.max_steps", 2.0)),
    )
    overrides, config = composer.compose(point)
    assert overrides[1:] == ("optimizer.learning_rate=5e-05", "trainer.max_steps=3750")
    assert (config.optimizer.learning_rate, config.trainer.max_steps) == (5e-5, 3750)


def test_factors_see_the_values_that_the_cell_sets(composer):
    for steps in (100, 300):
        point = Point((f"data.recommended.max_steps={steps}",), (("trainer.max_steps", 0.5),))
        assert composer.compose(point)[1].trainer.max_steps == steps // 2


MISTAKES = [
    ("lora.rnak=8",),
    ("+lora.rnak=8",),
    ("+lora.rank=8",),
    ("lora.rank=eight",),
    ("model=lama7b",),
    ("experiment=table9/7b",),
    ("quant=int8", "quant.double_quant=true"),
    ("nonsense=1",),
]


@pytest.mark.parametrize("overrides", MISTAKES, ids=" ".join)
def test_a_mistake_is_told_as_hydra_would_tell_it(composer, compose, overrides):
    with pytest.raises(ConfigError) as expected:
        compose(*overrides)
    with pytest.raises(ConfigError) as found:
        composer.compose(Point(overrides))
    assert str(found.value) == str(expected.value)


def test_a_setting_inside_a_group_that_is_off_is_one_line(composer):
    with pytest.raises(ConfigError, match="An override sets a setting of a group that is off"):
        composer.compose(Point(("evals=[samples]", "evals.heldout.max_rows=5")))


def test_a_text_cannot_be_multiplied(composer):
    with pytest.raises(ConfigError, match=r"multipliers of data\.name: .* cannot be multiplied"):
        composer.compose(Point((), (("data.name", 2.0),)))
