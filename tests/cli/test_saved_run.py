"""An adapter brings its base: the one it names, wherever the command is started."""

import json

import hydra
import pytest

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import GenerateConfig
from anima_exp.errors import ConfigError
from anima_exp.model.adapter_files import source, warn_of_another
from anima_exp.system.paths import shipped, tiny_base


@pytest.fixture
def naming(tmp_path):
    """naming("org/base", revision="v1") -> the folder of an adapter that says so."""

    def _naming(base, revision=None):
        values = {"peft_type": "LORA", "base_model_name_or_path": base, "revision": revision}
        (tmp_path / "adapter_config.json").write_text(json.dumps(values))
        return str(tmp_path)

    return _naming


@pytest.fixture
def composed():
    """composed("adapter=FOLDER") -> the settings that `generate` comes to."""
    register_schema(GenerateConfig)

    def _composed(*arguments):
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            return parse(hydra.compose("generate", overrides=expand_run_argument(arguments)))

    yield _composed
    register_schema()


def test_a_base_that_is_known_brings_its_recommendations(naming, composed):
    config = composed(f"adapter={naming('huggyllama/llama-30b')}")
    assert (config.model.name, config.model.source) == ("llama33b", "huggyllama/llama-30b")
    assert (config.quant.type, config.quant.double_quant) == ("nf4", True)


def test_any_other_base_is_taken_as_it_is_named(naming, composed):
    config = composed(f"adapter={naming('some-org/A.base-7b', revision='v1.0')}", "quant=none")
    assert (config.model.name, config.model.source) == ("local", "some-org/A.base-7b")
    assert (config.model.revision, config.quant.type) == ("v1.0", "none")


def test_the_embedded_base_is_known_wherever_the_package_lies(naming, composed):
    for place in (tiny_base(), "/elsewhere/site-packages/anima_exp/tiny/base"):
        assert composed(f"adapter={naming(str(place))}").model.name == "tiny"


def test_a_local_base_is_found_from_another_working_directory(
    naming, composed, tmp_path, monkeypatch
):
    base = tmp_path / "my base"
    base.mkdir()
    adapter = naming(str(base))
    monkeypatch.chdir("/")
    config = composed(f"adapter={adapter}")
    assert (config.model.name, config.model.source) == ("local", str(base))


def test_the_base_that_the_user_names_wins(naming, composed):
    adapter = f"adapter={naming('huggyllama/llama-30b')}"
    assert composed(adapter, "model=llama7b").model.source == "huggyllama/llama-7b"
    own = composed(adapter, "model=local", "model.source=org/own")
    assert own.model.source == "org/own"


def test_an_adapter_that_names_no_base_or_none_that_is_here_asks_for_one(naming):
    with pytest.raises(ConfigError, match=r"does not say which model it was trained on\. Add"):
        expand_run_argument([f"adapter={naming(None)}"])
    with pytest.raises(
        ConfigError, match=r"was trained on /gone/base, a folder that does not exist here"
    ):
        expand_run_argument([f"adapter={naming('/gone/base')}"])


def test_one_base_has_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    assert source("base") == source(f"{tmp_path}/base/") == str(tmp_path / "base")
    assert source("org/base") == "org/base"
    assert source("tiny") == source(str(tiny_base())) == "tiny"


def test_the_same_base_by_another_path_is_no_warning(naming, tmp_path, capsys):
    (tmp_path / "base").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "base")
    warn_of_another(naming(str(tmp_path / "link")), str(tmp_path / "base"))
    warn_of_another(naming(str(tiny_base())), "tiny")
    warn_of_another(naming(None), "tiny")
    assert capsys.readouterr().err == ""


def recorded(folder, config, **more):
    """A run's folder with a record of `config`."""
    from anima_exp.results.identity import flatten
    from anima_exp.results.record import Record

    none = {"scores": {}, "scores_before": {}, "rows": {}, "parameters": {}}
    rest = dict.fromkeys(
        ("steps", "tokens", "train_seconds", "eval_seconds", "peak_memory_gib", "starts"), 0
    )
    texts = dict.fromkeys(("finished", "data_fingerprint", "base_fingerprint"), "")
    folder.mkdir(exist_ok=True)
    Record(name="a", settings=flatten(config), **none, **rest, **texts, **more).save(folder)


def test_an_adapter_in_its_runs_folder_is_asked_as_the_run(tmp_path, composed, compose):
    recorded(tmp_path, compose("quant=fp4", "data.prompt_template=alpaca"))
    (tmp_path / "adapter").mkdir()
    config = composed(f"adapter={tmp_path}/adapter")
    assert (config.model.name, config.quant.type) == ("tiny", "fp4")
    assert config.data.prompt_template == "alpaca"
    assert composed(f"adapter={tmp_path}/adapter", "quant=none").quant.type == "none"


@pytest.mark.parametrize("with_places", [True, False], ids=["recorded", "an older record"])
def test_a_runs_relative_paths_hold_in_another_folder(
    tmp_path, composed, compose, monkeypatch, with_places
):
    from anima_exp.results.identity import places

    a, b = tmp_path / "A", tmp_path / "B"
    for folder in (a, b, a / "models", a / "models/base", a / "run"):
        folder.mkdir()
    (a / "d.json").write_text("[]")
    monkeypatch.chdir(a)
    local = ("model=local", "model.source=models/base", "data=local", "data.path=d.json")
    config = compose(*local)
    known = places(config)
    assert known == {"model.source": str(a / "models/base"), "data.path": str(a / "d.json")}
    recorded(a / "run", config, places=known if with_places else {})
    (a / "run/adapter").mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(a / "models/base")}
    (a / "run/adapter/adapter_config.json").write_text(json.dumps(settings))
    monkeypatch.chdir(b)
    found = composed("run=../A/run")
    assert found.model.source == str(a / "models/base")
    assert found.data.path == (str(a / "d.json") if with_places else "d.json")
    if with_places:
        a.rename(tmp_path / "C")
        with pytest.raises(ConfigError) as told:
            composed("run=../C/run")
        assert str(told.value) == (
            f"run=../C/run was trained on model.source={a}/models/base, a folder that no longer "
            "exists. Add model.source=FOLDER with the place of the base."
        )
        here = f"model.source={tmp_path}/C/models/base"
        assert composed("run=../C/run", here).model.source == here.partition("=")[2]


def test_what_is_no_relative_path_has_no_place(compose):
    from anima_exp.results.identity import places

    assert places(compose("model=smollm2_135m", "data=oasst1")) == {}
