"""What the descriptions of the settings generate: help, the reference page, the JSON Schema."""

import pytest
from jsonschema import Draft202012Validator, ValidationError
from omegaconf import OmegaConf

from anima_exp.cli.help import with_sentences
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.config.json_schema import json_schema
from anima_exp.config.reference import reference_page
from anima_exp.system.paths import shipped

SCHEMA = json_schema(RunConfig)
GROUPS = {
    "data": "DataConfig",
    "evals": "EvalsConfig",
    "lora": "LoraConfig",
    "model": "ModelConfig",
    "optimizer": "OptimizerConfig",
    "quant": "QuantConfig",
    "tracking": "TrackingConfig",
    "trainer": "TrainerConfig",
    "experiment": "RunConfig",
}
FILES = sorted(path for group in GROUPS for path in shipped("conf").joinpath(group).rglob("*.yaml"))


def checked(values, definition):
    schema = {**SCHEMA, "$ref": f"#/$defs/{definition}"}
    Draft202012Validator(schema).validate(values)


def test_the_page_has_a_row_for_every_setting():
    page = reference_page()
    for key, entry in catalogue(RunConfig).items():
        assert entry.group or f"| `{key}`" in page, key


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("quant.type", "nf4"),
        ("quant.double_quant", "true"),  # of conf/quant/nf4.yaml; the dataclass says false
        ("trainer.max_steps", "`data.recommended.max_steps`"),
        ("trainer.precision", "`model.recommended.precision`"),
        ("evals.choices.shots", "0"),
        ("data.recipe", "as `data=NAME` says"),
        ("model.revision", "null"),
        ("runs_dir", "runs"),
    ],
)
def test_the_page_has_the_defaults_of_conf(key, default):
    [row] = [line for line in reference_page().splitlines() if line.startswith(f"| `{key}`")]
    assert row.split(" | ")[2] == default


def test_the_page_has_former_names():
    page = reference_page()
    assert "Formerly `data.steps`." in page
    assert "Formerly `runs`." in page
    assert "Formerly `lora=none` for `lora=full_finetune`." in page


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_of_conf_fits_the_json_schema(file):
    group = file.relative_to(shipped("conf")).parts[0]
    checked(OmegaConf.to_container(OmegaConf.load(file), resolve=False), GROUPS[group])


@pytest.mark.parametrize(
    "wrong", [{"rnak": 8}, {"rank": 0}, {"rank": 2.5}, {"target_modules": "all"}, {"alpha": None}]
)
def test_the_json_schema_refuses_what_composition_refuses(wrong):
    with pytest.raises(ValidationError):
        checked(wrong, "LoraConfig")


def test_help_puts_the_sentence_beside_the_value(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = "Head: stays\n== Settings: all\nlora:\n  rank: 64\n  other: 1\nseed: 0\n"
    lora, rank, other, seed, *more = with_sentences(text, RunConfig).split("\n")[2:]
    assert lora.split("#") == [f"{'lora:':<44} ", " The adapter."]
    assert (
        rank == f"{'  rank: 64':<44} # Rank of the update matrices. (whole number greater than 0)"
    )
    assert other == "  other: 1"
    assert seed.startswith(f"{'seed: 0':<44} # Random seed of the adapter's")
    assert more == [f"{'':<44} # dropout. (whole number from 0 to 4294967295)", ""]
