"""Every number of every command has a range, and what is outside of it is one line."""

from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

import pytest

from anima_exp.config import (
    AnswersConfig,
    DataConfig,
    EvaluateConfig,
    ExactMatchConfig,
    ForgettingConfig,
    GenerateConfig,
    HeldoutConfig,
    InspectDataConfig,
    LauncherConfig,
    LengthStatsConfig,
    LoraConfig,
    MergeConfig,
    ModelConfig,
    MultipleChoiceConfig,
    OptimizerConfig,
    Recommended,
    RunConfig,
    SamplesConfig,
    ShapeConfig,
    SweepConfig,
    TrainerConfig,
)
from anima_exp.config.catalogue import check_limits, check_rows_seen
from anima_exp.config.commands import JudgeConfig, PublishConfig
from anima_exp.errors import ConfigError

SCHEMAS = [
    AnswersConfig, DataConfig, EvaluateConfig, ExactMatchConfig, ForgettingConfig, GenerateConfig,
    HeldoutConfig,
    InspectDataConfig, JudgeConfig, LauncherConfig, LoraConfig, MergeConfig, ModelConfig,
    MultipleChoiceConfig, OptimizerConfig, PublishConfig, Recommended, RunConfig, SamplesConfig,
    ShapeConfig, SweepConfig, TrainerConfig, LengthStatsConfig,
]  # fmt: skip
NUMBERS = [
    (schema, field.name, kind)
    for schema in SCHEMAS
    for field in fields(schema)
    for hint in [get_type_hints(schema)[field.name]]
    for kind in (int, float)
    if kind in (hint, *get_args(hint))
]


def inner(schema):
    for hint in get_type_hints(schema).values():
        for kind in (hint, *get_args(hint)):
            if is_dataclass(kind):
                yield kind
                yield from inner(kind)


def test_no_schema_of_a_command_is_forgotten():
    commands = (
        RunConfig, InspectDataConfig, EvaluateConfig, GenerateConfig, MergeConfig, JudgeConfig,
        PublishConfig,
    )  # fmt: skip
    used = {kind for command in commands for kind in inner(command)}
    numeric = {
        kind for kind in used if any(h in (int, float) for h in get_type_hints(kind).values())
    }
    assert numeric <= set(SCHEMAS)


@pytest.mark.parametrize(("schema", "name", "kind"), NUMBERS)
def test_a_number_without_measure_is_refused(schema, name, kind):
    mistakes = [float("inf"), float("-inf"), float("nan"), 10**20, 1e300]
    for value in [*mistakes, -(10**20)]:
        config = schema()
        for field in fields(schema):  # no mandatory value is in the way
            setattr(config, field.name, None)
        setattr(config, name, value)
        with pytest.raises(ConfigError) as error:
            check_limits(config)
        assert str(error.value).startswith(f"{name}={value} must be")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            f"trainer.max_steps={'1' * 400}",
            f"trainer.max_steps={'1' * 400} must be at most 1,000,000,000.",
        ),
        ("seed=4294967296", "seed=4294967296 must be from 0 to 4294967295."),
        ("seed=-1", "seed=-1 must be from 0 to 4294967295."),
        ("data.heldout_seed=99999999999", "data.heldout_seed=99999999999 must be from 0 to 42949"),
        (
            "trainer.max_steps=100000000000000000000",
            "trainer.max_steps=100000000000000000000 must be at ",
        ),
        ("trainer.batch_size=1000000000000", "trainer.batch_size=1000000000000 must be at most 1,"),
        ("lora.rank=1000000000", "lora.rank=1000000000 must be at most 65,536."),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate=inf must be a finite number."),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate=nan must be a finite number."),
        ("rehearsal_scale=nan", "rehearsal_scale=nan must be a finite number."),
        ("rehearsal_scale=inf", "rehearsal_scale=inf must be a finite number."),
        (
            "data.max_rows=2000000000",
            "data.max_rows=2000000000 must be at most 10,000,000 for data=sample, which gene",
        ),
        (
            "data.source=sample_chat data.max_rows=2000000000",
            "data.max_rows=2000000000 must be at most 10,000,000 for data=sample_chat, which gene",
        ),
        (
            "trainer.max_steps=1000000000",
            "trainer.max_steps=1000000000 would train on 16,000,0",
        ),
    ],
)
def test_such_a_number_on_a_command_line_is_one_line(compose, override, line):
    with pytest.raises(ConfigError) as error:
        compose(*override.split())
    assert str(error.value).startswith(line)


def test_the_largest_seed_is_a_seed(compose):
    assert compose("seed=4294967295").seed == 4294967295


def test_epochs_cannot_see_more_rows_than_their_order_has_room_for():
    with pytest.raises(ConfigError, match=r"^trainer\.num_epochs=1e6 would train on 10,00"):
        check_rows_seen(10_000_000_000, key="trainer.num_epochs=1e6")
