"""Hydra still has what libraries/hydra_internals.py uses; a test names each part."""

import copy

import hydra
import pytest
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hydra.version import getbase
from omegaconf import OmegaConf

from anima_exp.cli import yaml_files
from anima_exp.libraries import hydra_internals
from anima_exp.libraries.hydra_internals import IntervalSweep, RangeSweep, Sweep


@pytest.fixture
def parsed():
    return hydra_internals.overrides_parser().parse_override


def test_the_grammar_reads_a_list_of_values_as_a_sweep(parsed):
    override = parsed("lora.rank=8,16")
    assert override.is_discrete_sweep()
    assert isinstance(override.value(), Sweep)
    assert list(override.sweep_string_iterator()) == ["8", "16"]
    assert override.get_key_element() == "lora.rank"
    assert override.input_line == "lora.rank=8,16"


def test_the_grammar_reads_a_range_with_its_ends(parsed):
    value = parsed("seed=range(1,7,2)").value()
    assert isinstance(value, RangeSweep)
    assert (value.start, value.stop, value.step, value.shuffle) == (1, 7, 2, False)


def test_the_grammar_reads_an_interval_with_its_ends_and_tags(parsed):
    override = parsed("x=tag(log, interval(1, 2))")
    value = override.value()
    assert isinstance(value, IntervalSweep)
    assert override.is_sweep_override()
    assert not override.is_discrete_sweep()
    assert (value.start, value.end, value.tags) == (1.0, 2.0, {"log"})


def test_the_grammar_tells_a_value_from_a_group_an_addition_and_a_removal(parsed):
    assert (parsed("+a=1").is_add(), parsed("~a").is_delete(), parsed("a@b=1").package) == (
        True,
        True,
        "b",
    )
    plain = parsed("a.b='x'")
    assert not (plain.is_add() or plain.is_delete() or plain.package)
    assert (plain.key_or_group, plain.value()) == ("a.b", "x")
    assert plain.get_value_element_as_str() == "'x'"


def test_a_loader_composes_a_cell_from_its_own_overrides_alone(tmp_path):
    (tmp_path / "root.yaml").write_text("x: 1\ny: 2\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("root", ["y=3"], RunMode.MULTIRUN)
        cell = hydra_internals.sweep_config(loader, master, ("x=5",))
        assert (cell.x, cell.y) == (5, 2)
        assert list(cell.hydra.overrides.task) == ["x=5"]


def test_hydra_keeps_a_registered_source_of_files_only_under_its_own_name():
    """A cluster's job registers Hydra's own after ours."""
    yaml_files.offer()
    registry = SourcesRegistry.instance()
    registry.register(file_config_source.FileConfigSource)
    assert registry.types["file"] is yaml_files.FileConfigSource
    other = type("Other", (file_config_source.FileConfigSource,), {})
    with pytest.raises(ValueError, match="already registered"):
        registry.register(other)


def test_hydra_reads_files_through_the_source_of_their_scheme(tmp_path, monkeypatch):
    read = []
    original = yaml_files.FileConfigSource.load_config

    def spy(self, config_path):
        found = original(self, config_path)
        read.append((config_path, found.header["package"]))
        return found

    monkeypatch.setattr(yaml_files.FileConfigSource, "load_config", spy)
    yaml_files.offer()
    (tmp_path / "root.yaml").write_text("x: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        hydra.compose("root")
    assert ("root.yaml", None) in read or ("root", None) in read


def test_hydras_store_is_copied_unless_it_says_how():
    store = ConfigStore.instance()
    with hydra_internals.store_not_copied():
        assert copy.deepcopy(store) is store
    assert copy.deepcopy(store) is not store


def test_our_word_for_a_missing_value_is_omegaconfs():
    from omegaconf import MISSING

    from anima_exp.config import setting

    assert setting.MISSING == MISSING


def test_registries_that_are_lent_are_given_back_as_they_were():
    def state():
        store = ConfigStore.instance()
        registered = dict(SourcesRegistry.instance().types)
        return store, store.list(""), registered, OmegaConf.has_resolver("lent"), getbase()

    before = state()
    with hydra_internals.registries_lent():
        ConfigStore.instance().store(name="lent", node={"a": 1})
        OmegaConf.register_new_resolver("lent", lambda: 1)
        hydra_internals.read_files_with(yaml_files.FileConfigSource)
        assert not GlobalHydra.instance().is_initialized()
        assert str(getbase()) == "1.3"
        assert "lent.yaml" in ConfigStore.instance().list("")
        assert OmegaConf.has_resolver("now")
    assert state() == before
    assert not before[3]


def test_a_loader_composes_while_another_hydra_program_runs(tmp_path):
    for folder in ("conf", "more"):
        (tmp_path / folder / "group").mkdir(parents=True)
        (tmp_path / folder / f"group/{folder}.yaml").write_text("a: 1\n")
    (tmp_path / "conf/main.yaml").write_text("defaults: [group: conf]\n")
    with (
        hydra.initialize_config_dir(str(tmp_path), version_base="1.3"),
        hydra_internals.registries_lent(),
    ):
        loader = hydra_internals.config_loader(tmp_path / "conf", tmp_path / "more")
        cfg = loader.load_configuration("main", ["group=more", "group.a=2"], RunMode.RUN)
    assert cfg.group == {"a": 2}
    assert cfg.hydra.runtime.choices.group == "more"
