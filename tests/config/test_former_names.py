"""Every renamed setting is accepted under its former name, wherever a setting can be written."""

import hydra
import pytest
from omegaconf import OmegaConf

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.overrides import composable
from anima_exp.comparison.settings import full_name
from anima_exp.config import (
    EvaluateConfig,
    GenerateConfig,
    MergeConfig,
    RunConfig,
    program_settings,
)
from anima_exp.config.catalogue import catalogue, former_keys
from anima_exp.config.commands import JudgeConfig, PublishConfig
from anima_exp.config.former_names import FormerNames, todays
from anima_exp.errors import ConfigError
from anima_exp.system.paths import shipped

pytestmark = pytest.mark.usefixtures("shown")

# Former key: (today's key, a value).
OF_A_RUN = {
    "trainer.recompute": ("trainer.activation_checkpointing", "full"),
    "trainer.token_budget": ("trainer.max_tokens_per_micro_batch", 512),
    "trainer.shard_base": ("trainer.fsdp", False),
    "trainer.gpus": ("trainer.num_gpus", 1),
    "trainer.steps": ("trainer.max_steps", 7),
    "trainer.epochs": ("trainer.num_epochs", None),
    "trainer.loss_average": ("trainer.loss_normalization", "row"),
    "trainer.keep_checkpoints": ("trainer.max_checkpoints", 5),
    "quant.keep_dequantized": ("quant.cache_dequantized", False),
    "quant.snapshot": ("quant.cache_quantized", False),
    "lora.layers": ("lora.modules", None),
    "data.rows": ("data.max_rows", 640),
    "data.max_train_samples": ("data.max_train_rows", 32),
    "data.steps": ("data.recommended.max_steps", 11),
    "data.eval_every": ("data.recommended.eval_every", 3),
    "data.typical": ("data.length_stats", None),
    "data.typical.rows": ("data.length_stats.rows", 64),
    "data.typical.mean_tokens": ("data.length_stats.mean_tokens", 21.5),
    "data.typical.mean_label_tokens": ("data.length_stats.mean_label_tokens", 3.5),
    "launcher.warm": ("launcher.preload", False),
    "runs": ("runs_dir", "elsewhere"),
    "folder": ("run_dir", "mine"),
    "cache": ("cache_dir", "kept"),
    "scale": ("rehearsal_scale", 0.5),
}
OF_COMMANDS = {
    EvaluateConfig: {"prompts": ("export_prompts", "folder")},
    GenerateConfig: {"beside": ("extra_adapters", ["a"]), "compare": ("include_base", True)},
    MergeConfig: {
        "onto": ("target", "dequantized"),
        "prove": ("verify", False),
        "proof_rows": ("verify_rows", 8),
        "proof_tokens": ("verify_tokens", 16),
        "shard_gib": ("max_shard_gib", 2.0),
    },
    JudgeConfig: {"again_unparsed": ("retry_unparsed", True)},
    PublishConfig: {"dry_run": ("confirm", True)},
}
RENAMED = [
    *((RunConfig, old, *new) for old, new in OF_A_RUN.items()),
    *((schema, old, *new) for schema, names in OF_COMMANDS.items() for old, new in names.items()),
]
SWEEPER = {"rows": "points", "factors": "multipliers", "published": "reference_results"}
every_name = pytest.mark.parametrize(
    ("schema", "old", "new", "value"), RENAMED, ids=[one[1] for one in RENAMED]
)
every_name_of_a_run = pytest.mark.parametrize("old", OF_A_RUN)


@pytest.fixture(autouse=True)
def nothing_reported_yet():
    """Each former name is reported once in a process."""
    program_settings._former_names.cache_clear()


@pytest.fixture
def program():
    """program(schema) makes it the schema of the command that runs."""
    yield register_schema
    register_schema()


def written(value):
    texts = {None: "null", True: "true", False: "false"}
    return texts.get(value, str(value)) if not isinstance(value, list) else f"[{','.join(value)}]"


def nested(key, value):
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def told(schema, old, value):
    """The value under the former name: `dry_run` meant the opposite of `confirm`."""
    return not value if (schema, old) == (PublishConfig, "dry_run") else value


def test_the_table_holds_every_former_name():
    assert {old: new for old, (new, _) in OF_A_RUN.items()} == former_keys(RunConfig)
    for schema, names in OF_COMMANDS.items():
        own = {old: new for old, (new, _) in names.items()}
        shared = former_keys(RunConfig) if issubclass(schema, RunConfig) else {}
        assert former_keys(schema) == {**shared, **own}, schema


@every_name
def test_the_command_line_takes_a_former_name_and_says_the_new_one(
    program, capsys, schema, old, new, value
):
    program(schema)
    given = written(told(schema, old, value))
    assert composable([f"{old}={given}"]) == composable([f"{new}={written(value)}"])
    line = capsys.readouterr().err
    now = f"{new}={written(value)}" if schema is PublishConfig else new
    assert line.endswith(f" was renamed. Use {now}.\n")
    assert line.count("\n") == 1


@every_name
def test_a_file_takes_a_former_name(schema, old, new, value):
    lines = []
    names = FormerNames(schema, lines.append)
    assert names.tree(nested(old, told(schema, old, value))) == nested(new, value)
    assert len(lines) == 1 or old.startswith("data.typical.")


@every_name
def test_both_names_are_one_line(schema, old, new, value):
    error = f"{new}: its former name {old} sets it as well. Keep {new} only."
    other = told(schema, old, value)
    for order in (slice(None), slice(None, None, -1)):
        with pytest.raises(ConfigError) as found:
            FormerNames(schema).overrides([f"{old}={written(other)}", f"{new}={value}"][order])
        assert str(found.value) == error
    whole = OmegaConf.merge(nested(old, other), nested(new, value))
    with pytest.raises(ConfigError) as found:
        FormerNames(schema).tree(OmegaConf.to_container(whole))
    assert str(found.value).partition(":")[0] == new


@every_name_of_a_run
def test_a_record_a_sweep_and_a_condition_take_a_former_name(old):
    new, value = OF_A_RUN[old]
    assert todays({old: value, "seed": 1}) == {new: value, "seed": 1}
    names = FormerNames(RunConfig)
    assert names.override(f"hydra.sweeper.params.{old}=1,2") == f"hydra.sweeper.params.{new}=1,2"
    if catalogue(RunConfig)[new].group is None:
        assert full_name(old, [new], option="--by") == new


def test_a_condition_takes_the_last_part_of_a_former_name():
    known = ["trainer.num_epochs", "lora.rank"]
    assert full_name("epochs", known, option="--by") == "trainer.num_epochs"


@pytest.mark.parametrize("old", SWEEPER)
def test_a_grid_takes_the_former_names_of_its_parts(old):
    new = SWEEPER[old]
    names = FormerNames(RunConfig)
    given, now = {
        "rows": ([{"trainer.steps": 5}], [{"trainer.max_steps": 5}]),
        "factors": ({"trainer.steps": "0.5,1"}, {"trainer.max_steps": "0.5,1"}),
        "published": (
            {"source": "Table 1", "rows": [{"trainer.epochs": 3, "value": 1.5}]},
            {"source": "Table 1", "rows": [{"trainer.num_epochs": 3, "value": 1.5}]},
        ),
    }[old]
    assert names.tree({"hydra": {"sweeper": {old: given}}}) == {"hydra": {"sweeper": {new: now}}}
    with pytest.raises(ConfigError, match=rf"^hydra.sweeper.{new}: its former name"):
        names.tree({"hydra": {"sweeper": {old: given, new: now}}})


def test_a_grid_on_the_command_line_takes_former_names():
    names = FormerNames(RunConfig)
    assert names.overrides(
        [
            "hydra.sweeper.rows=[{lora: none, trainer.steps: 5}]",
            "hydra.sweeper.factors.trainer.steps=0.5,1",
            "hydra.sweeper.about=trainer.steps",
            "hydra.sweeper.params.lora=none,attention",
        ]
    ) == [
        "hydra.sweeper.points=[{lora: none, trainer.max_steps: 5}]",
        "hydra.sweeper.multipliers.trainer.max_steps=0.5,1",
        "hydra.sweeper.about=trainer.max_steps",
        "hydra.sweeper.params.lora=full_finetune,attention",
    ]


def test_a_reference_to_a_former_name_is_renamed_and_a_resolvers_argument_is_not():
    names = FormerNames(RunConfig)
    old = {
        "trainer": {
            "log_every": "${.steps}",
            "eval_every": "${unless:${trainer.epochs},${data.steps}}",
            "save_every": "${oc.select:trainer.steps,5}",
        },
        "tracking": {"project": "${oc.env:cache}-${scale}", "tags": ["${trainer.steps}"]},
        "hydra": {"sweep": {"dir": "${runs}/mine"}, "launcher": {"gpus": ["${trainer.gpus}"]}},
    }
    assert names.tree(old) == {
        "trainer": {
            "log_every": "${trainer.max_steps}",
            "eval_every": "${unless:${trainer.num_epochs},${data.recommended.max_steps}}",
            "save_every": "${oc.select:trainer.max_steps,5}",
        },
        "tracking": {
            "project": "${oc.env:cache}-${rehearsal_scale}",
            "tags": ["${trainer.max_steps}"],
        },
        "hydra": {
            "sweep": {"dir": "${runs_dir}/mine"},
            "launcher": {"gpus": ["${trainer.num_gpus}"]},
        },
    }


FILES = {
    "experiment/old.yaml": """# @package _global_
defaults:
  - override /lora: none
  - override /quant: none
runs: elsewhere
cache: kept
data: {rows: 640, max_train_samples: 32, steps: 11, eval_every: 3}
trainer:
  loss_average: row
  token_budget: 512
  keep_checkpoints: 5
launcher: {warm: false}
""",
    "experiment/new.yaml": """# @package _global_
defaults:
  - override /lora: full_finetune
  - override /quant: none
runs_dir: elsewhere
cache_dir: kept
data: {max_rows: 640, max_train_rows: 32, recommended: {max_steps: 11, eval_every: 3}}
trainer:
  loss_normalization: row
  max_tokens_per_micro_batch: 512
  max_checkpoints: 5
launcher: {preload: false}
""",
    "trainer/old.yaml": """defaults: [default]
keep_checkpoints: 5
log_every: ${.keep_checkpoints}
""",
    "lora/old.yaml": "defaults: [none]\n",
    "data/old.yaml": "defaults: [sample]\nsteps: 11\ntypical: {rows: 5}\n",
}


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """composed(override, ...) -> the config, with the folder FILES as --config-dir."""
    folder = tmp_path_factory.mktemp("config")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    def compose(*overrides):
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            searched = f"hydra.searchpath=[file://{folder}]"
            return parse(hydra.compose("train", [searched, *composable(overrides)]))

    return compose


def test_a_users_files_compose_the_same_under_former_names(composed, capsys):
    new = composed("experiment=new", "trainer.activation_checkpointing=full")
    assert capsys.readouterr().err == ""
    assert composed("experiment=old", "trainer.recompute=full") == new
    assert new.lora.is_full_finetune and new.trainer.max_steps == 11
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) == 12
    for line in (
        "lora=none was renamed. Use lora=full_finetune.",
        "data.steps was renamed. Use data.recommended.max_steps.",
        "trainer.recompute was renamed. Use trainer.activation_checkpointing.",
    ):
        assert line in lines


def test_a_file_of_a_group_takes_former_names(composed):
    config = composed("trainer=old", "lora=old", "data=old", "quant=none")
    assert (config.trainer.max_checkpoints, config.trainer.log_every) == (5, 5)
    assert config.lora.is_full_finetune
    assert config.trainer.max_steps == config.data.recommended.max_steps == 11
    assert config.data.length_stats.rows == 5


def test_a_former_choice_of_a_group_is_taken_from_the_command_line(composed, capsys):
    assert composed("lora=none", "quant=none").lora.is_full_finetune
    assert capsys.readouterr().err == "lora=none was renamed. Use lora=full_finetune.\n"


def test_only_a_former_name_turns_yes_into_no():
    lines = []
    names = FormerNames(PublishConfig, lines.append)
    given = ["dry_run=false", "dry_run=true", "confirm=false", "dry_run=maybe"]
    assert [names.override(one) for one in given] == [
        "confirm=true", "confirm=false", "confirm=false", "confirm=maybe",
    ]  # fmt: skip
    assert lines == [
        "dry_run=false was renamed. Use confirm=true.",
        "dry_run=true was renamed. Use confirm=false.",
    ]


@pytest.mark.parametrize("folder", ["conf", "sweeps"])
def test_no_shipped_file_has_a_former_name(folder, compose):
    lines = []
    schemas = {
        "evaluate": EvaluateConfig,
        "generate": GenerateConfig,
        "merge": MergeConfig,
        "judge": JudgeConfig,
        "publish": PublishConfig,
    }
    for path in shipped(folder).rglob("*.yaml"):
        parts = path.relative_to(shipped(folder)).parts
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        tree.pop("defaults", None)
        if folder == "conf" and len(parts) == 2 and parts[0] != "experiment":
            tree = {parts[0]: tree}
        FormerNames(schemas.get(path.stem, RunConfig), lines.append).tree(tree)
    assert lines == []
