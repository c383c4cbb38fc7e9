"""An adapter brings its base: the one it names, wherever the command is started."""

import json

import hydra
import pytest

from anima_exp.compose import install, parse
from anima_exp.config import GenerateConfig
from anima_exp.errors import ConfigError
from anima_exp.finished import with_run
from anima_exp.model.adapter_base import source, warn_of_another
from anima_exp.paths import shipped, tiny_base


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
    install(GenerateConfig)

    def _composed(*arguments):
        with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
            return parse(hydra.compose("generate", overrides=with_run(arguments)))

    yield _composed
    install()


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
        with_run([f"adapter={naming(None)}"])
    with pytest.raises(ConfigError, match=r"was trained on /gone/base, a folder that is not here"):
        with_run([f"adapter={naming('/gone/base')}"])


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


def test_an_adapter_in_its_runs_folder_is_asked_as_the_run(tmp_path, composed, compose):
    from anima_exp.results.identity import flatten
    from anima_exp.results.record import Record

    settings = flatten(compose("quant=fp4", "data.prompt_template=alpaca"))
    none = {"scores": {}, "scores_before": {}, "rows": {}, "parameters": {}}
    rest = dict.fromkeys(
        ("steps", "tokens", "train_seconds", "eval_seconds", "peak_memory_gib", "starts"), 0
    )
    texts = dict.fromkeys(("finished", "data_fingerprint", "base_fingerprint"), "")
    Record(name="a", settings=settings, **none, **rest, **texts).save(tmp_path)
    (tmp_path / "adapter").mkdir()
    config = composed(f"adapter={tmp_path}/adapter")
    assert (config.model.name, config.quant.type) == ("tiny", "fp4")
    assert config.data.prompt_template == "alpaca"
    assert composed(f"adapter={tmp_path}/adapter", "quant=none").quant.type == "none"
