"""Hydra and OmegaConf still say what libraries/hydra_errors.py reads; a test names each mistake.

A test that fails here means: a user who makes this mistake sees the library's own text.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum

import hydra
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import MISSING, OmegaConf

from anima_exp.libraries import hydra_errors
from anima_exp.libraries.hydra_errors import Kind


class Colour(Enum):
    red = "red"


@dataclass
class Group:
    whole: int = 1
    colour: Colour = Colour.red
    texts: list[str] = field(default_factory=list)
    needed: int = MISSING
    reference: int = 1


@dataclass
class Settings:
    group: Group = field(default_factory=Group)
    off: Group | None = None
    plain: float = 1.0


FILES = {
    "root.yaml": "defaults: [contract_schema, _self_]\n",
    "group/known.yaml": "whole: 2\n",
    "group/unknown_key.yaml": "whale: 2\n",
    "group/bad_value.yaml": "whole: two\n",
    "group/bad_enum.yaml": "colour: green\n",
    "group/a_null.yaml": "whole: null\n",
    "group/a_group.yaml": "whole: {a: 1}\n",
    "group/a_list.yaml": "- 1\n",
    "group/a_mapping.yaml": "defaults: {a: b}\n",
    "flat.yaml": "defaults: [contract_schema, _self_]\ngroup: 3\n",
    "nulls.yaml": "defaults: [contract_schema, _self_]\ngroup: [1]\n",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """said("lora.rnak=8") -> the Mistake that Hydra's answer to this override is read as."""
    folder = tmp_path_factory.mktemp("conf")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    ConfigStore.instance().store(name="contract_schema", node=Settings)

    def _said(*overrides, file="root"):
        try:
            with hydra.initialize_config_dir(str(folder), version_base="1.3"):
                OmegaConf.to_object(hydra.compose(file, overrides=list(overrides)))
        except Exception as error:
            found = hydra_errors.read(error)
            assert found is not None, f"not known: {error}"
            return found
        raise AssertionError("Hydra has no objection")

    return _said


def test_hydra_names_the_unknown_key_in_its_error(said):
    found = said("group.whale=2")
    assert (found.kind, found.key or found.parts["key"]) == (Kind.no_override, "group.whale")


def test_hydra_names_the_file_that_sets_an_unknown_key(said):
    found = said("+group=unknown_key")
    assert (found.kind, found.key, found.file) == (
        Kind.no_override,
        "group.whale",
        "group/unknown_key",
    )


def test_hydra_names_the_choice_that_does_not_exist(said):
    found = said("+group=knwon")
    assert (found.kind, found.parts) == (Kind.no_choice, {"choice": "group/knwon"})


def test_hydra_names_the_group_that_does_not_exist(said):
    found = said("gruop=known")
    assert (found.kind, found.parts) == (Kind.no_override, {"key": "gruop"})
    found = said("gruop/sub=known")
    assert (found.kind, found.parts) == (Kind.no_override, {"key": "gruop/sub"})


def test_hydra_names_the_group_that_is_not_in_the_defaults(said):
    found = said("group=known")
    assert (found.kind, found.parts) == (Kind.no_group, {"choice": "group"})


def test_hydra_says_that_a_group_takes_no_number(said):
    assert said("+group=3").kind is Kind.group_as_number


def test_hydra_says_that_defaults_are_a_list(said):
    found = said("+group=a_mapping")
    assert (found.kind, found.parts) == (Kind.bad_defaults, {"file": "group/a_mapping"})


def test_hydra_names_the_kind_of_a_file_that_is_no_mapping(said):
    found = said(file="nulls")
    assert (found.kind, found.parts["given"].lower()) == (Kind.wrong_kind, "list")


def test_hydra_names_the_kind_of_a_value_that_is_no_group(said):
    found = said(file="flat")
    assert (found.kind, found.parts) == (Kind.wrong_kind, {"given": "int"})


def test_omegaconf_names_key_and_value_of_a_wrong_type(said):
    found = said("group.whole=two")
    assert (found.kind, found.parts) == (Kind.bad_value, {"key": "group.whole", "value": "two"})


def test_omegaconf_names_the_file_of_a_wrong_type(said):
    found = said("+group=bad_value")
    assert (found.kind, found.file) == (Kind.wrong_type, "group/bad_value")
    assert (found.key, found.parts) == ("group.whole", {"value": "two"})


def test_omegaconf_names_the_file_of_a_value_that_is_in_no_enum(said):
    found = said("+group=bad_enum")
    assert (found.kind, found.file) == (Kind.wrong_type, "group/bad_enum")
    assert (found.key, found.parts) == ("group.colour", {"value": "green"})


def test_omegaconf_names_the_file_that_sets_null_where_it_cannot_be(said):
    found = said("+group=a_null")
    assert (found.kind, found.file) == (Kind.wrong_type, "group/a_null")
    assert found.key == "group.whole"
    assert "value" not in found.parts


def test_omegaconf_names_the_file_that_sets_a_group_where_a_value_belongs(said):
    found = said("+group=a_group")
    assert (found.kind, found.file) == (Kind.wrong_type, "group/a_group")
    assert found.key == "group.whole"


def test_omegaconf_names_the_value_that_is_no_list(said):
    found = said("group.texts=3")
    assert found.kind in (Kind.wrong_type, Kind.bad_value)
    assert found.parts["value"].strip("'") == "3"


def test_hydra_says_that_an_override_goes_into_null(said):
    assert said("off.whole=2").kind is Kind.inside_null


def test_hydra_names_the_override_whose_several_values_need_a_sweep(said):
    found = said("plain=1,2")
    assert (found.kind, found.parts) == (Kind.several_values, {"override": "plain=1,2"})


@pytest.mark.parametrize("override", ["plain=[1", "plain=a = b", "plain='1"])
def test_hydra_quotes_what_it_cannot_read(said, override):
    found = said(override)
    assert found.kind is Kind.unreadable
    assert found.parts["override"]


def test_hydra_names_the_key_that_it_cannot_remove(said):
    found = said("~group.whole")
    assert (found.kind, found.parts) == (Kind.no_removal, {"key": "group.whole"})
    found = said("~group.whale")
    assert (found.kind, found.parts) == (Kind.no_removal, {"key": "group.whale"})


def test_omegaconf_names_the_key_without_a_value(said):
    found = said()
    assert (found.kind, found.key or found.parts["key"]) == (Kind.missing, "group.needed")


def test_omegaconf_names_the_reference_that_leads_nowhere(said):
    found = said("group.needed=1", "group.reference=${group.refrence}")
    assert found.kind is Kind.broken_reference
    assert (found.key, found.parts) == ("group.reference", {"target": "group.refrence"})


def test_hydra_names_the_class_of_a_launcher_that_is_not_installed():
    config = OmegaConf.create({"hydra": {"launcher": {"_target_": "hydra_plugins.none.Launcher"}}})
    with pytest.raises(RuntimeError) as error:
        Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=None, callbacks=None),
            task_function=lambda cfg: None,
            config=config,
        )
    assert hydra_errors.says_no_plug_in(error.value)


def test_hydra_names_the_option_that_needs_another(tmp_path):
    (tmp_path / "app.py").write_text(
        "import hydra\n@hydra.main(version_base='1.3', config_path=None)\n"
        "def app(cfg): pass\n"
        "from anima_exp.libraries.hydra_errors import answers_an_override\n"
        "try:\n    app()\nexcept (ValueError, AssertionError) as error:\n"
        "    print('known', answers_an_override(error))\n"
    )
    run = subprocess.run(
        [sys.executable, "app.py", "--resolve"],
        cwd=tmp_path,
        env={"HYDRA_FULL_ERROR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "known True\n"
