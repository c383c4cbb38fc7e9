"""Every file in conf/ composes, and says what its source says."""

import pytest

from anima_exp.config import Precision, Quantization
from anima_exp.system.paths import shipped

CONF = shipped("conf")
CHOICES = [
    (path.relative_to(CONF).parts[0], path.relative_to(CONF / path.relative_to(CONF).parts[0]))
    for path in sorted(CONF.rglob("*.yaml"))
    # hydra/launcher/ needs plug-ins: tests/sweep/test_clusters.py
    if path.parent != CONF and path.relative_to(CONF).parts[0] != "hydra"
]
assert len(CHOICES) > 60, "conf/ has lost its files: these tests would pass by checking nothing"
NEEDS = {
    ("model", "local"): ["model.source=x"],
    ("data", "local"): ["data.path=x", "trainer.num_epochs=1"],
    ("data", "mixture"): ["data.parts.a.path=x", "trainer.num_epochs=1"],
    ("lora", "full_finetune"): ["quant=none"],
}


@pytest.mark.parametrize(("group", "file"), CHOICES, ids=lambda value: str(value))
def test_every_choice_composes_under_its_own_name(compose, group, file):
    choice = file.with_suffix("").as_posix()
    value = f"[{choice}]" if group == "evals" else choice
    config = compose(f"{group}={value}", *NEEDS.get((group, choice), []))
    if group in ("model", "data", "optimizer"):
        name = getattr(config, group).name
        assert getattr(name, "value", name) == choice


def test_no_argument_is_the_tiny_run(compose):
    config = compose()
    assert (config.model.source, config.data.source) == ("tiny", "sample")


def test_animas_run_is_model_and_data_alone(compose):
    config = compose("model=guanaco33b", "data=belle_merge")
    assert config.model.source == "timdettmers/guanaco-33b-merged"
    assert config.data.source == "Chinese-Vicuna/guanaco_belle_merge_v1.0"
    assert (config.data.max_prompt_tokens, config.data.max_response_tokens) == (512, 512)
    assert (config.trainer.max_steps, config.trainer.batch_size) == (10_000, 16)
    assert (config.trainer.max_tokens_per_micro_batch, config.trainer.eval_every) == (None, 200)
    assert (config.optimizer.learning_rate, config.optimizer.max_grad_norm) == (1e-4, 0.3)
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (64, 16, 0.05)
    assert (config.quant.type, config.quant.double_quant) == (Quantization.nf4, True)
    assert config.quant.compute_dtype is Precision.bf16
    assert all(any("\u4e00" <= c <= "\u9fff" for c in p) for p in config.evals.samples.prompts)


def test_the_announced_experiment_computes_the_same(compose):
    plain = compose("model=guanaco33b", "data=belle_merge")
    announced = compose("experiment=anima33b")
    for part in ("model", "data", "quant", "lora", "optimizer"):
        assert getattr(plain, part) == getattr(announced, part)


def test_animas_script_is_reachable_as_it_ran(compose):
    config = compose("experiment=historical/anima33b")
    assert config.lora.dropout == 0.0
    assert (config.quant.compute_dtype, config.trainer.precision) == (
        Precision.fp32,
        Precision.fp32,
    )
    assert (config.seed, config.data.heldout_rows) == (42, 1)


# QLoRA, Table 9: batch, learning rate, steps, lengths. Its dash is the scripts' 16.
SMALL = {
    "all": (16, 2e-4, 10_000, 384, 128),
    "oasst1": (16, 2e-4, 1875, 16, 512),
    "hh_rlhf": (16, 2e-4, 10_000, 16, 768),
    "longform": (16, 2e-4, 4000, 512, 1024),
}
TABLE_9 = {
    "7b": SMALL,
    "13b": SMALL,
    "33b": {
        "all": (32, 1e-4, 5000, 384, 128),
        "oasst1": (16, 1e-4, 1875, 16, 512),
        "hh_rlhf": (32, 1e-4, 5000, 16, 768),
        "longform": (32, 1e-4, 2343, 512, 1024),
    },
    "65b": {
        "all": (64, 1e-4, 2500, 384, 128),
        "oasst1": (16, 1e-4, 1875, 16, 512),
        "hh_rlhf": (64, 1e-4, 2500, 16, 768),
        "longform": (32, 1e-4, 2343, 512, 1024),
    },
}


@pytest.mark.parametrize(
    ("size", "row", "values"),
    [(size, row, values) for size, rows in TABLE_9.items() for row, values in rows.items()],
)
def test_table_9_is_held_exactly(compose, size, row, values):
    config = compose(f"experiment=table9/{size}_{row}")
    assert config.model.name == f"llama{size}"
    assert config.data.name == ("alpaca" if row == "all" else row)
    told = (
        config.trainer.batch_size,
        config.optimizer.learning_rate,
        config.trainer.max_steps,
        config.data.max_prompt_tokens,
        config.data.max_response_tokens,
    )
    assert told == values
    assert config.lora.dropout == (0.1 if size in ("7b", "13b") else 0.05)


def test_the_rows_of_table_9_are_all_there():
    files = {path.stem for path in (CONF / "experiment" / "table9").glob("*.yaml")}
    assert files == {f"{size}_{row}" for size, rows in TABLE_9.items() for row in rows}


@pytest.mark.parametrize(
    ("experiment", "learning_rate", "dropout", "save_every"),
    [
        ("guanaco_7b", 2e-4, 0.1, 500),
        ("guanaco_13b", 2e-4, 0.1, 500),
        ("historical/guanaco_13b", 2e-4, 0.05, 500),
        ("guanaco_33b", 1e-4, 0.05, 200),
        ("guanaco_65b", 1e-4, 0.05, 200),
    ],
)
def test_the_guanaco_scripts(compose, experiment, learning_rate, dropout, save_every):
    config = compose(f"experiment={experiment}")
    assert config.optimizer.learning_rate == learning_rate
    assert config.lora.dropout == dropout
    assert (config.trainer.max_steps, config.trainer.eval_every) == (1875, 187)
    assert (config.trainer.save_every, config.seed) == (save_every, 0)
    assert (config.data.heldout_rows, config.evals.heldout.max_rows) == (1024, 1000)


def test_an_override_beats_an_experiment(compose):
    assert compose("experiment=table9/65b_oasst1", "trainer.max_steps=7").trainer.max_steps == 7


def test_epochs_replace_steps(compose):
    config = compose("trainer.num_epochs=3")
    assert (config.trainer.max_steps, config.trainer.num_epochs) == (None, 3.0)


@pytest.mark.parametrize(
    ("recipe", "template"),
    [("alpaca", "alpaca"), ("guanaco", "guanaco"), ("hh_rlhf", "hh_rlhf"), ("mine.rows", "plain")],
)
def test_a_file_of_ones_own_is_asked_as_its_recipe_taught(compose, recipe, template):
    data = compose("data=local", "data.path=x", f"data.recipe={recipe}").data
    assert data.prompt_template == template


def test_the_format_of_a_recipe_is_the_same_wherever_it_is_used(compose):
    from anima_exp.data.formats import prompt_template_of

    for name in sorted(path.stem for path in shipped("conf/data").glob("*.yaml")):
        data = compose(f"data={name}", *NEEDS.get(("data", name), [])).data
        assert prompt_template_of(data.recipe) == data.prompt_template, name
