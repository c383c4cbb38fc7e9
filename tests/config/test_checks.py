"""Settings: each is described, and names survive new and renamed ones."""

import dataclasses
import re
from dataclasses import fields, make_dataclass, replace

import hydra
import pytest

from anima_exp.cli import compose as program
from anima_exp.cli.overrides import composable
from anima_exp.config import (
    EvaluateConfig,
    GenerateConfig,
    InspectDataConfig,
    MergeConfig,
    OptimizerConfig,
    Precision,
    RunConfig,
    TrainerConfig,
)
from anima_exp.config.catalogue import catalogue, former_keys
from anima_exp.config.commands import JudgeConfig, PublishConfig
from anima_exp.config.former_names import FormerNames
from anima_exp.config.setting import described, setting
from anima_exp.errors import ConfigError
from anima_exp.results import identity
from anima_exp.system.paths import shipped

pytestmark = pytest.mark.usefixtures("shown")

SCHEMAS = (
    RunConfig, InspectDataConfig, EvaluateConfig, GenerateConfig, MergeConfig, JudgeConfig,
    PublishConfig,
)  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_setting_is_described_in_one_plain_sentence(schema):
    for key, entry in catalogue(schema).items():
        about = entry.setting.about
        assert re.fullmatch(r"\S.*[.]", about), f"{key}: {about!r} is no sentence"
        assert len(about) <= 160, key


def test_a_field_without_a_description_is_refused():
    plain = make_dataclass("Plain", [("rank", int, 3)])
    with pytest.raises(TypeError, match=r"^The field rank has no description"):
        catalogue(plain)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_default_is_inside_its_range(schema):
    for key, entry in catalogue(schema).items():
        value = entry.default
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert entry.setting.allows(value), key
            assert entry.setting.largest is None or value <= entry.setting.largest, key


def test_every_setting_of_a_later_group_is_a_later_setting():
    known = catalogue(RunConfig)
    for key, entry in known.items():
        group = known.get(key.rpartition(".")[0])
        if group and group.later and not group.optional:
            assert entry.later, key


def test_a_later_setting_says_what_was_before():
    for key, entry in catalogue(RunConfig).items():
        if entry.later and entry.in_name and not entry.optional:
            assert entry.setting.as_before is not None, key


def rebuilt(schema, **changed):
    """`schema` with other fields: None removes one, a (type, setting) pair adds or replaces one."""
    kept = [(f.name, f.type, f) for f in fields(schema) if f.name not in changed]
    kept = [(name, kind, _again(one)) for name, kind, one in kept]
    new = [(name, *pair) for name, pair in changed.items() if pair is not None]
    return make_dataclass(schema.__name__, [*kept, *new], namespace={"__doc__": schema.__doc__})


def _again(one):
    default = (
        {"default": one.default}
        if one.default is not dataclasses.MISSING
        else {"default_factory": one.default_factory}
    )
    return dataclasses.field(**default, metadata=one.metadata)


NAP = setting("none", "How long to rest.", since="9.9", as_before="none")
FIRST = {key: entry.first_key for key, entry in catalogue(RunConfig).items()}


@pytest.fixture
def of_tomorrow(monkeypatch):
    """The schema of a later version: renamed settings, a moved one, and a new one."""
    trainer = rebuilt(
        TrainerConfig,
        max_steps=None,
        last_step=(int | None, setting(None, "Steps.", above=0, formerly=("steps", "max_steps"))),
        precision=None,
        nap=(str, NAP),
    )
    optimizer = rebuilt(
        OptimizerConfig,
        arithmetic=(Precision, setting("???", "Type.", formerly=("trainer.precision",))),
        schedule=(
            str,
            setting(
                "steady",
                "Schedule.",
                formerly=("schedule",),
                former_values={"constant": "steady", "cosine": "wave"},
            ),
        ),
    )
    schema = rebuilt(
        RunConfig,
        trainer=(trainer, setting(trainer, "The loop.")),
        optimizer=None,
        solver=(optimizer, setting(optimizer, "The optimizer.", formerly=("optimizer",))),
    )
    monkeypatch.setattr(identity, "RunConfig", schema)
    return schema


def todays(schema):
    return FormerNames(schema, [].append)


def test_a_renamed_group_and_a_renamed_setting_in_it_keep_every_earlier_key(of_tomorrow):
    former = former_keys(of_tomorrow)
    assert former["trainer.steps"] == former["trainer.max_steps"] == "trainer.last_step"
    assert former["optimizer.learning_rate"] == "solver.learning_rate"
    assert former["trainer.precision"] == "solver.arithmetic"
    assert former["optimizer"] == "solver"
    assert "trainer.batch_size" not in former


def test_the_hash_goes_by_the_first_names_and_values(compose, of_tomorrow):
    old = identity.flatten(compose())
    new = todays(of_tomorrow).settings(old)
    assert new["trainer.last_step"] == old["trainer.max_steps"]
    assert new["solver.schedule"] == "steady"
    first = dict(identity._first_named(key, value) for key, value in new.items())
    assert first == {FIRST.get(key, key): value for key, value in old.items()}
    assert first["trainer.steps"] == old["trainer.max_steps"]


@pytest.mark.parametrize(("value", "counts"), [("none", False), ("long", True)])
def test_a_new_setting_counts_only_if_it_is_not_as_before(of_tomorrow, value, counts):
    assert identity.enters_name("trainer.nap")
    assert identity._as_before("trainer.nap", value) is not counts


def test_a_swept_former_name_is_renamed_behind_hydras_own_key(of_tomorrow):
    names = todays(of_tomorrow)
    assert names.override("hydra.sweeper.params.trainer.steps=1,2") == (
        "hydra.sweeper.params.trainer.last_step=1,2"
    )


def test_a_setting_cannot_move_into_a_group_that_is_no_table(of_tomorrow):
    with pytest.raises(ConfigError, match=r"^solver.arithmetic: solver is 'mine' here"):
        todays(of_tomorrow).tree({"trainer": {"precision": "bf16"}, "solver": "mine"})


def test_each_former_name_is_reported_once_in_one_line(of_tomorrow):
    lines = []
    names = FormerNames(of_tomorrow, lines.append)
    assert names.override("trainer.steps=5") == "trainer.last_step=5"
    assert names.override("++trainer.steps=5,6") == "++trainer.last_step=5,6"
    assert names.override("optimizer.schedule=cosine,constant") == "solver.schedule=wave,steady"
    assert names.override("optimizer=adamw") == "solver=adamw"
    assert names.override("seed=trainer.steps") == "seed=trainer.steps"
    assert lines == [
        "trainer.steps was renamed. Use trainer.last_step.",
        "optimizer.schedule was renamed. Use solver.schedule.",
        "solver.schedule=cosine was renamed. Use solver.schedule=wave.",
        "solver.schedule=constant was renamed. Use solver.schedule=steady.",
        "optimizer was renamed. Use solver.",
    ]


def test_a_file_is_read_under_todays_names(of_tomorrow):
    names = todays(of_tomorrow)
    old = {
        "trainer": {"steps": "${optimizer.warmup}", "precision": "bf16", "batch_size": 4},
        "optimizer": {"schedule": "cosine", "learning_rate": "${model.recommended.learning_rate}"},
        "hydra": {
            "sweeper": {
                "params": {"trainer.steps": "5,10", "optimizer.schedule": "constant,cosine"},
                "rows": [{"trainer.precision": "fp32"}],
                "about": "trainer.steps",
            }
        },
    }
    assert names.tree(old) == {
        "trainer": {"batch_size": 4, "last_step": "${solver.warmup}"},
        "solver": {
            "schedule": "wave",
            "learning_rate": "${model.recommended.learning_rate}",
            "arithmetic": "bf16",
        },
        "hydra": {
            "sweeper": {
                "params": {"trainer.last_step": "5,10", "solver.schedule": "steady,wave"},
                "points": [{"solver.arithmetic": "fp32"}],
                "about": "trainer.last_step",
            }
        },
    }


def test_one_setting_under_two_names_is_refused(of_tomorrow):
    twice = r"^trainer.last_step: its former name trainer.steps sets it as well"
    with pytest.raises(ConfigError, match=twice):
        todays(of_tomorrow).tree({"trainer": {"steps": 1, "last_step": 2}})


def test_a_command_takes_a_former_name_from_the_command_line_and_from_files(
    tmp_path, monkeypatch, capsys
):
    """A real composition, of a schema with one renamed setting."""
    schema = rebuilt(
        TrainerConfig,
        max_checkpoints=None,
        last_checkpoints=(int, setting(2, "Kept.", in_name=False, formerly=("max_checkpoints",))),
    )
    run = rebuilt(RunConfig, trainer=(schema, setting(schema, "The loop.")))
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text(
        "defaults: [default]\nmax_checkpoints: 7\nlog_every: ${trainer.max_checkpoints}\n"
    )
    program.register_schema(run)
    try:
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            searched = f"hydra.searchpath=[file://{tmp_path}]"
            cfg = hydra.compose("train", overrides=[searched, "trainer=mine"])
            assert (cfg.trainer.last_checkpoints, cfg.trainer.log_every) == (7, 7)
            given = composable(["trainer.max_checkpoints=3"])
            assert hydra.compose("train", overrides=given).trainer.last_checkpoints == 3
    finally:
        program.register_schema()
    assert "trainer.max_checkpoints was renamed. Use trainer.last_checkpoints." in (
        capsys.readouterr().err
    )


def test_a_name_is_the_same_under_a_schema_with_one_setting_more(compose, monkeypatch):
    config = compose()
    before = identity.run_name(config)
    trainer = rebuilt(TrainerConfig, nap=(str, NAP))
    schema = rebuilt(RunConfig, trainer=(trainer, setting(trainer, "The loop.")))
    monkeypatch.setattr(identity, "RunConfig", schema)

    def upgraded(nap):
        values = {f.name: getattr(config.trainer, f.name) for f in fields(config.trainer)}
        whole = {f.name: getattr(config, f.name) for f in fields(config)}
        return schema(**{**whole, "trainer": trainer(**values, nap=nap)})

    assert identity.run_name(upgraded("none")) == before
    assert identity.run_name(upgraded("long")) != before
    assert identity.run_name(replace(upgraded("none"), seed=1)) != before
    assert described(fields(trainer)[-1]).since == "9.9"
